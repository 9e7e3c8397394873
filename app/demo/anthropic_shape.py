"""What the demo provider answers in Anthropic's shape: messages."""

from collections.abc import Iterator
from typing import Any

from app.demo.words import answer, count, last_question, pieces

Json = dict[str, Any]
MODELS = ("claude-haiku-4-5", "claude-sonnet-4-5")


def message(call: Json, id_: str) -> Json:
    text = answer(last_question(call.get("messages")))
    return {
        **_head(call, id_),
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {**_usage(call), "output_tokens": count(text)},
    }


def message_events(call: Json, id_: str) -> Iterator[Json]:
    """Typed events; the caller writes `event:` from `type`."""
    text = answer(last_question(call.get("messages")))
    yield {"type": "message_start", "message": {**_head(call, id_), "usage": {**_usage(call), "output_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for piece in pieces(text):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": count(text)},
    }
    yield {"type": "message_stop"}


def models() -> Json:
    data = [{"type": "model", "id": n, "display_name": n, "created_at": "2026-01-01T00:00:00Z"} for n in MODELS]
    return {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}


def error(text: str, kind: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": text}}


def _head(call: Json, id_: str) -> Json:
    return {
        "id": f"msg_{id_}",
        "type": "message",
        "role": "assistant",
        "model": str(call.get("model") or MODELS[0]),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(call: Json) -> Json:
    prompt = count(call.get("system")) + count(call.get("messages"))
    cached = prompt // 2 if prompt > 200 else 0
    return {"input_tokens": prompt - cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
