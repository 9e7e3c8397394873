"""What a path tells: the wire form that is spoken there, and the names that stand in it."""

import re
from typing import Final, Literal
from urllib.parse import unquote

Shape = Literal["openai", "anthropic", "gemini"]
_MODEL_IN_PATH: Final = (
    re.compile(r"/(?:models|tunedModels)/([^/:]+):[A-Za-z]+\Z"),  # Gemini: /v1beta/models/NAME:generateContent
    re.compile(r"/deployments/([^/]+)/"),  # Azure: /openai/deployments/NAME/chat/completions
)
_CONVERSATION: Final = re.compile(r"/(?:conversations|threads)/([^/]+)")


def shape_of(dialect: str, path: str) -> Shape:
    """A provider may speak others' forms too: OpenRouter has Anthropic's messages, Gemini OpenAI's chat."""
    if dialect == "gemini":
        return "openai" if "/openai/" in path else "gemini"
    if dialect == "anthropic" or path.endswith("/v1/messages"):
        return "anthropic"
    return "openai"


def model_in(path: str) -> str:
    """The model that a path names; empty when it names none."""
    found = next((m for pattern in _MODEL_IN_PATH if (m := pattern.search(path))), None)
    return unquote(found.group(1)) if found else ""


def streams(path: str) -> bool:
    """Gemini says in the path whether the reply is streamed."""
    return path.endswith(":streamGenerateContent")


def conversation_in(path: str) -> str:
    found = _CONVERSATION.search(path)
    return unquote(found.group(1)) if found else ""
