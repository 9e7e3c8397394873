"""Anthropic's messages: `message_start` names model, id and what went in, `message_delta` what came out.

The counts of the last `message_delta` are totals. A body that is not streamed is the message with its usage.
https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from bus.event import Usage
from bus.transcript import scan, usage
from bus.transcript.found import Found
from bus.transcript.sse import Event

MARKERS: Final = (b"message_start", b"message_delta", b"message_stop", b'"error"')
UNTOLD: Final = b""
_ENDS: Final = frozenset({"message_stop", "error"})


class _Message(Struct):
    id: Any = None
    model: Any = None
    usage: Any = None


class _Object(Struct):
    """An event or a whole body."""

    type: Any = None
    id: Any = None
    model: Any = None
    usage: Any = None
    message: _Message | None = None


_decoder = msgspec.json.Decoder(_Object)


def read_event(event: Event, found: Found) -> None:
    told = _read(event.data, found)
    kind = told.type if told is not None else event.name
    if isinstance(kind, str) and kind in _ENDS:
        found.is_complete = True


def read_body(body: bytes, found: Found) -> None:
    found.is_complete = _read(body, found) is not None


def normalised(found: Found) -> Usage | None:
    return usage.from_anthropic(found.counts)


def _read(json: bytes, found: Found) -> _Object | None:
    """None when it is cut, shortened or no JSON; what its ends tell is found all the same."""
    try:
        told = _decoder.decode(json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        names = scan.top_level_texts(json, ("model", "id"))
        found.name(names.get("model"), names.get("id"))
        found.add_counts(scan.last_object(json, "usage"))
        return None
    message = told.message or _Message()
    found.name(told.model or message.model, told.id or message.id)
    found.add_counts(message.usage)
    found.add_counts(told.usage)
    return told
