"""The text that was said, out of a call's body and of a stream as far as it was kept. Nothing here raises."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from bus.transcript import sse
from bus.transcript.encodings import Broken, decoder_for

_ASKED: Final = (
    *("messages", "system", "input", "instructions", "prompt", "contents", "systemInstruction", "system_instruction"),
    *("tools", "functions", "response_format"),
)
_NO_TEXT: Final = frozenset(
    {"data", "file_data", "b64_json", "image_url", "url", "encrypted_content", "signature", "thoughtSignature", "id"}
)
_THOUGHT: Final = ("reasoning", "reasoning_content", "thinking")
_SPOKEN: Final = ("content", "text", "refusal", "partial_json")
_MESSAGE_TOKENS: Final = 3  # around each message of a chat, and once around all
_DEPTH: Final = 32


class Said(NamedTuple):
    visible: str = ""
    reasoning: str = ""


def asked(body: bytes) -> tuple[str, int]:
    """What a call gives to read, and the tokens between its messages. Images and files are left out."""
    try:
        call = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", 0
    if not isinstance(call, dict):
        return "", 0
    messages = call.get("messages") or call.get("contents") or ()
    count = len(messages) if isinstance(messages, list) else 1
    text = " ".join(part for name in _ASKED for part in _texts(call.get(name), _DEPTH))
    return text, (count + 1) * _MESSAGE_TOKENS


def answered(stream: bytes, content_encoding: str) -> Said:
    """`stream`: server-sent events of any dialect, from the first on; the end may be cut."""
    visible: list[str] = []
    reasoning: list[str] = []
    for event in _events(stream, content_encoding):
        for text, is_thought in _deltas(event):
            (reasoning if is_thought else visible).append(text)
    return Said("".join(visible), "".join(reasoning))


def _events(stream: bytes, content_encoding: str) -> Iterator[dict[str, Any]]:
    for block in sse.Blocks().feed(_decoded(stream, content_encoding)):
        event = sse.parse(block)
        try:
            told = msgspec.json.decode(event.data) if event else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(told, dict):
            yield told


def _decoded(stream: bytes, content_encoding: str) -> bytes:
    decoder = decoder_for(content_encoding)
    pieces: list[bytes] = []
    try:
        pieces.extend(decoder.decode(stream) if decoder else ())
    except Broken:
        return b""
    return b"".join(pieces)


def _deltas(event: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Text, and whether it was thought rather than said."""
    delta = event.get("delta")
    if isinstance(delta, str):  # responses
        yield delta, "reasoning" in str(event.get("type"))
    elif isinstance(delta, dict):  # Anthropic
        yield from _parts(delta)
    for choice in _dicts(event.get("choices")):  # chat, legacy completions
        yield from _parts(choice)
        for part in _dicts([choice.get("delta")]):
            yield from _parts(part)
            yield from _called(part.get("tool_calls"))
    for candidate in _dicts(event.get("candidates")):  # Gemini
        content = candidate.get("content")
        for part in _dicts(content.get("parts") if isinstance(content, dict) else None):
            text = part.get("text")
            if isinstance(text, str):
                yield text, part.get("thought") is True
            yield from ((called, False) for called in _texts(part.get("functionCall"), _DEPTH))


def _parts(delta: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    for names, is_thought in ((_SPOKEN, False), (_THOUGHT, True)):
        yield from ((delta[name], is_thought) for name in names if isinstance(delta.get(name), str))


def _called(calls: object) -> Iterator[tuple[str, bool]]:
    for call in _dicts(calls):
        for function in _dicts([call.get("function")]):
            yield from ((text, False) for text in function.values() if isinstance(text, str))


def _dicts(values: object) -> Iterable[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else ()


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for item in value:
            yield from _texts(item, depth - 1)
    elif depth and isinstance(value, dict):
        for name, item in value.items():
            if name not in _NO_TEXT:
                yield from _texts(item, depth - 1)
