"""What an event's recorded bodies say: the call and the reply as JSON, whatever their encoding, streamed or not.

Both are empty when nothing was recorded, and reading never raises.
"""

from typing import Any

import msgspec
from msgspec import Struct

from bus.event import Body, ExchangeFinished
from bus.transcript.paths import Shape, shape_of
from dispatcher.bodies import decoded
from dispatcher.merging import Json, merged, merged_gemini, objects_in


class Said(Struct, frozen=True):
    shape: Shape
    call: Json
    """The request's object; empty when it is cut, no JSON, or not recorded."""
    reply: Json
    """The response's object, a stream put together; empty when there is none."""


def said_in(event: ExchangeFinished) -> Said:
    shape = shape_of(event.dialect, event.path)
    called = _json(_bytes(event.request_body))
    return Said(shape, called if isinstance(called, dict) else {}, _reply(shape, event.response_body))


def _reply(shape: Shape, body: Body | None) -> Json:
    data = _bytes(body)
    if body is not None and "event-stream" in body.content_type:
        return merged(shape, data) or {}
    told = _json(data)
    if isinstance(told, list) and shape == "gemini":
        return merged_gemini(objects_in(told)) or {}
    return told if isinstance(told, dict) else {}


def _bytes(body: Body | None) -> bytes:
    return (decoded(body.data, body.content_encoding) or b"") if body is not None else b""


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data) if data else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
