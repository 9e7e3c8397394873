"""What the demo provider answers in OpenAI's shapes: chat completions, responses, embeddings, models."""

import random
import time
from collections.abc import Iterator
from typing import Any

from app.demo.words import answer, count, last_question, pieces

Json = dict[str, Any]
MODELS = ("gpt-4.1-mini", "gpt-4.1", "gpt-5-mini", "text-embedding-3-small")
_EMBEDDING_SIZE = 64


def chat(call: Json, id_: str) -> Json:
    text = answer(last_question(call.get("messages")))
    return {
        "id": f"chatcmpl-{id_}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": _model(call),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": _chat_usage(call, text),
    }


def chat_events(call: Json, id_: str) -> Iterator[Json]:
    """The chunks of a stream, without the `[DONE]` behind them."""
    text = answer(last_question(call.get("messages")))
    wants_usage = (call.get("stream_options") or {}).get("include_usage") is True
    head = {
        "id": f"chatcmpl-{id_}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": _model(call),
    }

    def chunk(delta: Json, finish: str | None = None) -> Json:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(text):
        yield chunk({"content": piece})
    yield chunk({}, "stop")
    if wants_usage:
        yield {**head, "choices": [], "usage": _chat_usage(call, text)}


def response(call: Json, id_: str, *, status: str = "completed") -> Json:
    text = answer(last_question(call.get("input")))
    done = status == "completed"
    return {
        "id": f"resp_{id_}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": _model(call),
        "output": [_output_item(id_, text)] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": call.get("instructions"),
        "metadata": call.get("metadata") or {},
        "usage": _response_usage(call, text) if done else None,
    }


def response_events(call: Json, id_: str) -> Iterator[Json]:
    """Typed events; the caller writes `event:` from `type`."""
    text = answer(last_question(call.get("input")))
    place = {"item_id": f"msg_{id_}", "output_index": 0, "content_index": 0}
    events: list[Json] = [
        {"type": "response.created", "response": response(call, id_, status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": {**_output_item(id_, ""), "content": []}},
        {"type": "response.content_part.added", **place, "part": _part("")},
        *({"type": "response.output_text.delta", **place, "delta": piece} for piece in pieces(text)),
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.content_part.done", **place, "part": _part(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": _output_item(id_, text)},
        {"type": "response.completed", "response": response(call, id_)},
    ]
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def embeddings(call: Json, id_: str) -> Json:
    given = call.get("input")
    texts = given if isinstance(given, list) else [given]
    used = sum(count(text) for text in texts)
    return {
        "object": "list",
        "model": _model(call),
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(str(text))} for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def models() -> Json:
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "demo"}


def error(message: str, kind: str, code: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _model(call: Json) -> str:
    return str(call.get("model") or MODELS[0])


def _chat_usage(call: Json, text: str) -> Json:
    prompt, completion = count(call.get("messages")), count(text)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": prompt // 2 if prompt > 200 else 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _response_usage(call: Json, text: str) -> Json:
    prompt, completion = count(call.get("input")), count(text)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }


def _output_item(id_: str, text: str) -> Json:
    return {
        "type": "message",
        "id": f"msg_{id_}",
        "status": "completed" if text else "in_progress",
        "role": "assistant",
        "content": [_part(text)],
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": []}


def _vector(text: str) -> list[float]:
    rng = random.Random(text)
    return [round(rng.uniform(-1, 1), 6) for _ in range(_EMBEDDING_SIZE)]
