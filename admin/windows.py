"""Spans of time that pages offer, and how finely a chart cuts each."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

_MINUTE_MS: Final = 60_000


class Window(Struct, frozen=True):
    key: str
    label: str
    span_ms: int
    bucket_ms: int
    """Whole minutes, so that the roll-ups can answer."""

    def since(self, now_ms: int) -> int:
        """The beginning, on the edge of a bucket: the first bar is a whole one."""
        return self.until(now_ms) - self.span_ms

    def until(self, now_ms: int) -> int:
        return (now_ms // self.bucket_ms + 1) * self.bucket_ms


HOUR: Final = Window("1h", "Last hour", 60 * _MINUTE_MS, _MINUTE_MS)
DAY: Final = Window("24h", "24 hours", 24 * 60 * _MINUTE_MS, 30 * _MINUTE_MS)
WEEK: Final = Window("7d", "7 days", 7 * 24 * 60 * _MINUTE_MS, 180 * _MINUTE_MS)
MONTH: Final = Window("31d", "31 days", 31 * 24 * 60 * _MINUTE_MS, 12 * 60 * _MINUTE_MS)

OVERVIEW: Final[Mapping[str, Window]] = {w.key: w for w in (HOUR, DAY, WEEK)}
REQUESTS: Final[Mapping[str, Window]] = {w.key: w for w in (HOUR, DAY, WEEK, MONTH)}
