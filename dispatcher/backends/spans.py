"""An exchange as an OpenTelemetry span, before its encoding.

Trace and span id come from the event, so that a second delivery is the same span again. Times are exact: the span
begins at accept and ends with the last byte.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from bus.event import ExchangeFinished
from dispatcher.backends.genai import Value, error_type, span_name

_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


class Timed(Struct, frozen=True):
    trace_id: bytes
    span_id: bytes
    name: str
    start_ns: int
    end_ns: int
    error: str
    """Empty when it went well."""
    attributes: list[tuple[str, Value]]


def span_of(event: ExchangeFinished, attributes: Iterable[tuple[str, Value]]) -> Timed:
    start_ns = event.accepted_at_ms * 1_000_000
    times_us = (event.last_byte_us, event.first_byte_us, event.upstream_head_us)
    took_us = next((us for us in times_us if us is not None), 0)
    return Timed(
        trace_id=_trace_id(event),
        span_id=_derived("span", event.event_id, 8),
        name=span_name(event),
        start_ns=start_ns,
        end_ns=start_ns + took_us * 1000,
        error=error_type(event),
        attributes=list(attributes),
    )


def _trace_id(event: ExchangeFinished) -> bytes:
    if _TRACE_ID.fullmatch(event.trace_id):
        return bytes.fromhex(event.trace_id)
    return _derived("trace", event.event_id, 16)


def _derived(what: str, event_id: str, length: int) -> bytes:
    """The same for the same event, for ever; never only zeros, which would be no id."""
    return hashlib.sha256(f"{what}:{event_id}".encode()).digest()[: length - 1] + b"\x01"
