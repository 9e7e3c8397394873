"""Asking an OpenAI chat stream for its usage, and taking the answer out again: both on bytes, nothing is re-serialised.

The provider sends one chunk more, with no choices and the usage. https://platform.openai.com/docs/api-reference/chat/create
"""

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from bus.transcript import scan, sse

_ASK: Final = b'"stream_options":{"include_usage":true},'
_EVENT_END: Final = re.compile(rb"\n\n|\r\n\r\n|\r\r")
_MAX_HELD_BYTES: Final = 1024 * 1024  # of one event; a longer one is no chunk with usage


class _Call(Struct):
    stream: Any = None
    stream_options: Any | UnsetType = UNSET


class _Chunk(Struct):
    choices: Any = None
    usage: Any = None


_call = msgspec.json.Decoder(_Call)
_chunk = msgspec.json.Decoder(_Chunk)


def with_usage_asked(body: bytes) -> bytes | None:
    """The call with `stream_options.include_usage`. None: it is no stream, asks already, or cannot be read."""
    try:
        call = _call.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if call.stream is not True:
        return None
    if call.stream_options is UNSET:
        begin = body.index(b"{") + 1
        return body[:begin] + _ASK + body[begin:]
    return _with_option(body, call.stream_options)


def _with_option(body: bytes, options: object) -> bytes | None:
    """Beside what else the client wants of its stream."""
    if options is not None and not isinstance(options, dict):
        return None
    if options and options.get("include_usage") is True:
        return None
    span = scan.top_level_value(body, "stream_options")
    if span is None:
        return None
    told = msgspec.json.encode({**(options or {}), "include_usage": True})
    return body[: span[0]] + told + body[span[1] :]


class WithoutUsage:
    """Takes the chunk with the usage out of a stream. What passes does so event by event; its bytes are the same."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""
        """The beginning of an event whose end has not come."""

    def feed(self, chunk: bytes) -> bytes:
        """What may be passed on now."""
        if not self._held and chunk.endswith(b"\n\n") and not _may_tell(chunk):
            return chunk  # nearly always
        stream, passed, begin = self._held + chunk, [], 0
        for end in _EVENT_END.finditer(stream):
            event = stream[begin : end.end()]
            begin = end.end()
            if not (_may_tell(event) and _is_usage(event)):
                passed.append(event)
        self._held = stream[begin:]
        if len(self._held) > _MAX_HELD_BYTES:
            passed.append(self.rest())
        return b"".join(passed)

    def rest(self) -> bytes:
        """At the end of the stream: what was not a whole event."""
        held, self._held = self._held, b""
        return held


def _may_tell(events: bytes) -> bool:
    return b'"usage"' in events.replace(b'"usage":null', b"")


def _is_usage(block: bytes) -> bool:
    event = sse.parse(block.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    try:
        told = _chunk.decode(event.data) if event else _Chunk()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return told.choices == [] and isinstance(told.usage, dict)
