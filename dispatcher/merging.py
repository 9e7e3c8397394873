"""A streamed reply as the one object that the provider would have sent without streaming.

Never raises: what a stream does not have stays away, and of a cut one there is what came. Only what is said, why it
ended, the model's name and the usage are put together; log probabilities and the like are left out.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from bus.transcript import sse
from bus.transcript.paths import Shape

Json = dict[str, Any]


def merged(shape: Shape, stream: bytes) -> Json | None:
    """None when there is nothing in it that belongs to a reply."""
    blocks = sse.Blocks()
    events = [event for block in blocks.feed(stream + b"\n\n") if (event := sse.parse(block))]
    objects = [told for event in events if (told := _object_in(event.data))]
    return _MERGERS[shape](objects) if objects else None


def merged_gemini(chunks: Iterable[Json]) -> Json | None:
    """Also for the array of chunks that Gemini sends without `alt=sse`."""
    whole: Json = {}
    candidates: dict[int, Json] = {}
    for chunk in chunks:
        for name in ("modelVersion", "responseId", "usageMetadata", "promptFeedback", "error"):
            if name in chunk:
                whole[name] = chunk[name]
        for told in objects_in(chunk.get("candidates")):
            candidate = candidates.setdefault(number_in(told), {"content": {"role": "model", "parts": []}})
            _append_parts(candidate["content"]["parts"], objects_in(object_in(told.get("content")).get("parts")))
            if told.get("finishReason"):
                candidate["finishReason"] = told["finishReason"]
    if candidates:
        whole["candidates"] = [{"index": index, **candidates[index]} for index in sorted(candidates)]
    return whole or None


def object_in(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def objects_in(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_in(value: object) -> str:
    return value if isinstance(value, str) else ""


def number_in(told: Json) -> int:
    index = told.get("index")
    return index if isinstance(index, int) else 0


def _object_in(data: bytes) -> Json | None:
    try:
        told = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _merged_openai(objects: list[Json]) -> Json | None:
    if any(text_in(told.get("type")).startswith("response.") for told in objects):
        return _merged_response(objects)
    chunks = [told for told in objects if "choices" in told]
    if not chunks:
        return objects[-1] if "error" in objects[-1] or "usage" in objects[-1] else None
    whole: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        whole |= {name: chunk[name] for name in _CHUNK_FIELDS if chunk.get(name) is not None}
        for told in objects_in(chunk["choices"]):
            _add_choice(choices.setdefault(number_in(told), {}), told)
    whole["object"] = text_in(whole.get("object")).removesuffix(".chunk")
    whole["choices"] = [{"index": index, **choices[index]} for index in sorted(choices)]
    return whole


_CHUNK_FIELDS: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint", "usage", "error")


def _add_choice(choice: Json, told: Json) -> None:
    if told.get("finish_reason"):
        choice["finish_reason"] = told["finish_reason"]
    if "text" in told:  # completions, the old ones
        choice["text"] = choice.get("text", "") + text_in(told["text"])
    delta = object_in(told.get("delta"))
    if not delta:
        return
    message = choice.setdefault("message", {"role": "assistant", "content": None})
    message["role"] = text_in(delta.get("role")) or message["role"]
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        if text := text_in(delta.get(name)):
            message[name] = (message.get(name) or "") + text
    for told_call in objects_in(delta.get("tool_calls")):
        _add_tool_call(message.setdefault("tool_calls", []), told_call)


def _add_tool_call(calls: list[Json], told: Json) -> None:
    index = number_in(told)
    call = next((one for one in calls if one["index"] == index), None)
    if call is None:
        call = {"index": index, "id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        calls.append(call)
    call["id"] = text_in(told.get("id")) or call["id"]
    function = object_in(told.get("function"))
    for name in ("name", "arguments"):
        call["function"][name] += text_in(function.get(name))


def _merged_response(objects: list[Json]) -> Json | None:
    """The last word of the Responses API holds everything; of a cut one the texts are put together."""
    responses = [told["response"] for told in objects if isinstance(told.get("response"), dict)]
    whole: Json = dict(responses[-1]) if responses else {}
    text = "".join(text_in(o.get("delta")) for o in objects if o.get("type") == "response.output_text.delta")
    if text and not whole.get("output"):
        content = [{"type": "output_text", "text": text}]
        whole["output"] = [{"type": "message", "role": "assistant", "content": content}]
    return whole or None


def _merged_anthropic(objects: list[Json]) -> Json | None:
    whole: Json = {}
    blocks: dict[int, Json] = {}
    for told in objects:
        kind = told.get("type")
        if kind == "message_start":
            whole |= object_in(told.get("message"))
        elif kind == "content_block_start":
            blocks[number_in(told)] = dict(object_in(told.get("content_block")))
        elif kind == "content_block_delta":
            _add_delta(blocks.setdefault(number_in(told), {}), object_in(told.get("delta")))
        elif kind == "message_delta":
            whole |= object_in(told.get("delta"))
            whole["usage"] = {**object_in(whole.get("usage")), **object_in(told.get("usage"))}
        elif kind == "error":
            whole["error"] = told.get("error")
    if blocks:
        whole["content"] = [_finished(blocks[index]) for index in sorted(blocks)]
    return whole or None


def _add_delta(block: Json, delta: Json) -> None:
    for source, name in (("text", "text"), ("thinking", "thinking"), ("partial_json", "input_json")):
        if text := text_in(delta.get(source)):
            block[name] = text_in(block.get(name)) + text


def _finished(block: Json) -> Json:
    """Arguments of a tool arrive as pieces of JSON; cut ones stay text."""
    pieces = text_in(block.pop("input_json", ""))
    if pieces:
        told = _object_in(pieces.encode())
        block["input"] = pieces if told is None else told
    return block


def _append_parts(parts: list[Json], more: Iterable[Json]) -> None:
    for part in more:
        last = parts[-1] if parts else {}
        is_text = isinstance(part.get("text"), str) and isinstance(last.get("text"), str)
        if is_text and part.get("thought") == last.get("thought"):
            last["text"] += part["text"]
        else:
            parts.append(dict(part))


_MERGERS: Final[dict[str, Callable[[list[Json]], Json | None]]] = {
    "openai": _merged_openai,
    "anthropic": _merged_anthropic,
    "gemini": merged_gemini,
}
