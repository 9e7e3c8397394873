"""Gemini's generateContent: every piece of a stream is a whole reply with the counts so far in `usageMetadata`.

A stream comes as server-sent events (`?alt=sse`) or as one long JSON array. No event says that the stream is over:
a candidate's `finishReason` does, or a prompt that was refused.
https://ai.google.dev/api/generate-content#UsageMetadata
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from bus.event import Usage
from bus.transcript import scan, usage
from bus.transcript.found import Found
from bus.transcript.sse import Event

MARKERS: Final = (b"usageMetadata", b"finishReason", b"blockReason", b'"error"')
UNTOLD: Final = b""


class _Candidate(Struct):
    finish_reason: Any = msgspec.field(name="finishReason", default=None)


class _PromptFeedback(Struct):
    block_reason: Any = msgspec.field(name="blockReason", default=None)


class _Reply(Struct):
    usage: Any = msgspec.field(name="usageMetadata", default=None)
    model: Any = msgspec.field(name="modelVersion", default=None)
    id: Any = msgspec.field(name="responseId", default=None)
    error: Any = None
    candidates: list[_Candidate] | None = None
    feedback: _PromptFeedback | None = msgspec.field(name="promptFeedback", default=None)

    @property
    def is_last(self) -> bool:
        is_finished = any(c.finish_reason for c in self.candidates or ())
        return bool(is_finished or self.error or (self.feedback and self.feedback.block_reason))


_one = msgspec.json.Decoder(_Reply)
_one_or_many = msgspec.json.Decoder(list[_Reply] | _Reply)


def read_event(event: Event, found: Found) -> None:
    try:
        reply = _one.decode(event.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _read_ends(event.data, found)
        return
    _read(reply, found)
    if reply.is_last:
        found.is_complete = True


def read_body(body: bytes, found: Found) -> None:
    try:
        told = _one_or_many.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _read_ends(body, found)
        return
    for reply in told if isinstance(told, list) else [told]:
        _read(reply, found)
    found.is_complete = True


def normalised(found: Found) -> Usage | None:
    return usage.from_gemini(found.counts)


def _read(reply: _Reply, found: Found) -> None:
    found.name(reply.model, reply.id)
    found.replace_counts(reply.usage)


def _read_ends(json: bytes, found: Found) -> None:
    names = scan.top_level_texts(json, ("modelVersion", "responseId"))
    found.name(names.get("modelVersion"), names.get("responseId"))
    found.replace_counts(scan.last_object(json, "usageMetadata"))
