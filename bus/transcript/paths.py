"""What a path tells: the wire form that is spoken there, and the names that stand in it."""

import re
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import unquote

from msgspec import Struct

from bus.transcript.found import name_of

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


class PathFacts(Struct, frozen=True):
    shape: Shape
    model: str
    streams: bool
    conversation_id: str


@lru_cache(maxsize=1024)  # most calls go to a handful of paths
def told_by(dialect: str, path: str) -> PathFacts:
    """Percent-encoded or not: the provider decodes it, too."""
    path = unquote(path)
    return PathFacts(
        shape=shape_of(dialect, path),
        model=name_of(model_in(path)),
        streams=streams(path),
        conversation_id=name_of(conversation_in(path)),
    )


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
