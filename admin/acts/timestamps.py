"""Between the milliseconds that are stored and the RFC 3339 text that people and programs read."""

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@overload
def rfc3339(ms: int) -> str: ...
@overload
def rfc3339(ms: None) -> None: ...
@overload
def rfc3339(ms: int | None) -> str | None: ...
def rfc3339(ms: int | None) -> str | None:
    """`2026-11-21T15:04:05.123Z`; None stays None."""
    if ms is None:
        return None
    return (_EPOCH + ms * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(at: datetime) -> int:
    """Milliseconds since the epoch of a time with a zone; negative before 1970."""
    return (at - _EPOCH) // _MILLISECOND
