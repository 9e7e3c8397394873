"""What OpenAI answers, after its API reference (platform.openai.com/docs/api-reference)."""

from typing import Any

from openai.types.chat import ChatCompletionMessageFunctionToolCallParam, ChatCompletionToolParam

from bus.event import Usage

MODEL = "gpt-4.1-2025-04-14"
CHAT_ID = "chatcmpl-CQ3yZ0aQ"
CHAT_USAGE: dict[str, Any] = {
    "prompt_tokens": 40,
    "completion_tokens": 21,
    "total_tokens": 61,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 0},
}
CHAT_COUNTED = Usage(input=24, cache_read=16, output=13, reasoning=8)

RESPONSE_ID = "resp_68f0a1"
RESPONSE_USAGE: dict[str, Any] = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 56,
}
RESPONSE_COUNTED = Usage(input=32, cache_read=4, output=15, reasoning=5)
WEATHER_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOL_CALL: ChatCompletionMessageFunctionToolCallParam = {
    "id": "call_62136",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'},
}


def completion(content: str | None = "Grüezi!", *, tool_calls: list[Any] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if tool_calls:
        message["tool_calls"] = tool_calls
    reason = "tool_calls" if tool_calls else "stop"
    return {
        "id": CHAT_ID,
        "object": "chat.completion",
        "created": 1741569952,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": CHAT_USAGE,
        "service_tier": "default",
    }


def chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A piece of a streamed completion; `delta=None` is the last one, which has the usage and no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
    head = {"id": CHAT_ID, "object": "chat.completion.chunk", "created": 1741569952, "model": MODEL}
    return {**head, "choices": choices, "usage": None, **more}


def text_chunks(*words: str) -> list[dict[str, Any]]:
    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": word}) for word in words),
        chunk({}, "stop"),
        chunk(None, usage=CHAT_USAGE),
    ]


def tool_chunks(*arguments: str) -> list[dict[str, Any]]:
    opening = {"index": 0, **TOOL_CALL, "function": {"name": "get_weather", "arguments": ""}}
    return [
        chunk({"role": "assistant", "content": None, "tool_calls": [opening]}),
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in arguments),
        chunk({}, "tool_calls"),
        chunk(None, usage=CHAT_USAGE),
    ]


def response(text: str = "Grüezi!", *, status: str = "completed", **changed: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    message = {"id": "msg_68f0", "type": "message", "status": "completed", "role": "assistant", "content": content}
    return {
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": 1741476777,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": MODEL,
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": RESPONSE_USAGE if status == "completed" else None,
        "metadata": {},
        **changed,
    }


def response_events(*words: str) -> list[dict[str, Any]]:
    text, place = "".join(words), {"item_id": "msg_68f0", "output_index": 0, "content_index": 0}
    item = {"id": "msg_68f0", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.in_progress", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.completed", "response": response(text)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def file(name: str = "batch.jsonl", size: int = 120) -> dict[str, Any]:
    return {
        "id": "file-abc123",
        "object": "file",
        "bytes": size,
        "created_at": 1677610602,
        "expires_at": None,
        "filename": name,
        "purpose": "batch",
        "status": "processed",
    }


def batch(status: str = "validating") -> dict[str, Any]:
    return {
        "id": "batch_abc123",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": None,
        "input_file_id": "file-abc123",
        "completion_window": "24h",
        "status": status,
        "created_at": 1711471533,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": {},
    }
