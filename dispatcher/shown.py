"""An exchange as viewers of prompts show it: OpenAI's chat form, which they all know, whatever the dialect was.

What is no conversation (embeddings, a moderation, a body that was cut) is given as it was recorded.
"""

from typing import Any

import msgspec
from msgspec import Struct

from bus.event import Body, ExchangeFinished
from dispatcher.bodies import readable
from dispatcher.merging import Json
from dispatcher.messages import answered, asked, system_of
from dispatcher.said import Said


class Shown(Struct, frozen=True):
    """Both are JSON, or None when nothing was recorded."""

    input: Any
    """A list of chat messages."""
    output: Any
    """A chat message; a list of them when there were several choices."""


def shown(event: ExchangeFinished, said: Said) -> Shown:
    system = system_of(said)
    instructions = [{"role": "system", "parts": system}] if system else []
    question = [_chat_message(message) for message in instructions + asked(said)]
    answer = [_chat_message(message) for message in answered(said)]
    return Shown(
        question or said.call or _as_recorded(event.request_body, "request"),
        (answer[0] if len(answer) == 1 else answer) or said.reply or _as_recorded(event.response_body, "response"),
    )


def _chat_message(message: Json) -> Json:
    parts = message["parts"]
    told: Json = {"role": message["role"], "content": _joined(parts, "text")}
    if reasoning := _joined(parts, "reasoning"):
        told["reasoning_content"] = reasoning
    if calls := [_tool_call(part) for part in parts if part["type"] == "tool_call"]:
        told["tool_calls"] = calls
    if replies := [part for part in parts if part["type"] == "tool_call_response"]:
        told |= {"role": "tool", "tool_call_id": replies[0]["id"], "content": _text_of(replies)}
    return told


def _joined(parts: list[Json], kind: str) -> str:
    return "\n".join(part["content"] for part in parts if part["type"] == kind)


def _tool_call(part: Json) -> Json:
    arguments = part["arguments"]
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return {"id": part["id"], "type": "function", "function": {"name": part["name"], "arguments": text}}


def _text_of(replies: list[Json]) -> str:
    told = [reply["response"] for reply in replies]
    return "\n".join(one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in told)


def _as_recorded(body: Body | None, side: str) -> Any:
    read = readable(body, side)
    return read.value if read.value is not None else ("<binary omitted>" if read.in_base64 else None)
