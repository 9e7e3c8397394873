"""OpenAI's wire form, and that of everybody who is compatible with it.

Chat: the last chunk has `usage` when the client asked for it, and `[DONE]` ends the stream. Responses: the event
`response.completed` (or failed, incomplete) holds the whole response with its usage. Audio and images end with
events of their own. A body that is not streamed is that same last object.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from bus.event import Usage
from bus.transcript import scan, usage
from bus.transcript.found import Found
from bus.transcript.sse import Event

MARKERS: Final = (b'"usage"', b'"error"', b"[DONE]", b".completed", b".done")
"""An event without any of these has nothing to tell, the first few apart. Each check costs a part of a microsecond
for every chunk, so these are few: `response.failed` and `.incomplete` are found by the `"error"` in their response."""
UNTOLD: Final = b'"usage":null'
"""Stands in every chunk but the last when the client asked for usage: that is no marker."""
_ENDS: Final = frozenset(
    (
        "response.completed",
        "response.failed",
        "response.incomplete",
        "transcript.text.done",
        "speech.audio.done",
        "image_generation.completed",
        "image_edit.completed",
        "error",
    )
)


class _Response(Struct):
    id: Any = None
    model: Any = None
    usage: Any = None
    service_tier: Any = None


class _Object(Struct):
    """A chunk, an event or a whole body; only what is named here is decoded."""

    type: Any = None
    id: Any = None
    model: Any = None
    usage: Any = None
    service_tier: Any = None
    error: Any = None
    response: _Response | None = None


_decoder = msgspec.json.Decoder(_Object)


def read_event(event: Event, found: Found) -> None:
    if event.data == b"[DONE]":
        found.is_complete = True
        return
    told = _read(event.data, found)
    if told is None:
        if event.name in _ENDS:
            found.is_complete = True
    elif told.error or (isinstance(told.type, str) and told.type in _ENDS):
        found.is_complete = True


def read_body(body: bytes, found: Found) -> None:
    found.is_complete = _read(body, found) is not None


def normalised(found: Found) -> Usage | None:
    return usage.from_openai(found.counts, found.service_tier)


def _read(json: bytes, found: Found) -> _Object | None:
    """None when it is cut, shortened or no JSON; what its ends tell is found all the same."""
    try:
        told = _decoder.decode(json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _read_ends(json, found)
        return None
    inner = told.response
    found.service_tier = (inner.service_tier if inner else told.service_tier) or found.service_tier
    if inner is None:
        found.name(told.model, told.id)
        found.replace_counts(told.usage)
    else:
        found.name(told.model or inner.model, inner.id or told.id)
        found.replace_counts(told.usage or inner.usage)
    return told


def _read_ends(json: bytes, found: Found) -> None:
    names = scan.top_level_texts(json, ("model", "id", "service_tier"))
    found.name(names.get("model"), names.get("id"))
    found.service_tier = names.get("service_tier") or found.service_tier
    found.replace_counts(scan.last_object(json, "usage"))
