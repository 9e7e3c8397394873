"""What Anthropic answers, after its API reference (docs.anthropic.com/en/api/messages)."""

from typing import Any

from bus.event import Usage

MODEL = "claude-sonnet-5"
MESSAGE_ID = "msg_01XFDUDYJgAACzvnptvVoYEL"
USAGE: dict[str, Any] = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 15,
    "service_tier": "standard",
}
COUNTED = Usage(input=25, cache_read=300, cache_write=100, output=15)
TOOL_USE: dict[str, Any] = {"type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {"city": "Zürich"}}


def message(*content: dict[str, Any], stop_reason: str | None = "end_turn", **changed: Any) -> dict[str, Any]:
    return {
        "id": MESSAGE_ID,
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
        **changed,
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def text_events(*words: str) -> list[dict[str, Any]]:
    deltas = [{"type": "text_delta", "text": word} for word in words]
    return _events({"type": "text", "text": ""}, deltas, "end_turn")


def tool_events(*pieces: str) -> list[dict[str, Any]]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return _events({**TOOL_USE, "input": {}}, deltas, "tool_use")


def _events(block: dict[str, Any], deltas: list[dict[str, Any]], stop_reason: str) -> list[dict[str, Any]]:
    opened = message(stop_reason=None, usage={**USAGE, "output_tokens": 1})
    ending = {"stop_reason": stop_reason, "stop_sequence": None}
    return [
        {"type": "message_start", "message": opened},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 15}},
        {"type": "message_stop"},
    ]
