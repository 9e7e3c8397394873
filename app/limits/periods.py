"""Calendar periods of a time zone: the day, week (from Monday) or month in which a moment lies."""

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

LIFETIME: Final = "lifetime"


class Period(Struct, frozen=True):
    name: str
    """Part of a count's key: each period has a count of its own."""
    begins_ms: int
    ends_ms: int | None
    """None: never."""

    def holds(self, now_ms: int) -> bool:
        return self.begins_ms <= now_ms and (self.ends_ms is None or now_ms < self.ends_ms)


FOREVER: Final = Period(LIFETIME, 0, None)


def period_of(window: str, time_zone: str, now_ms: int) -> Period:
    """`window` is day, week, month or lifetime. A day may have 23 or 25 hours: it goes from midnight to midnight."""
    if window == LIFETIME:
        return FOREVER
    zone = ZoneInfo(time_zone)
    today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).astimezone(zone).date()
    if window == "day":
        first, after = today, today + timedelta(days=1)
    elif window == "week":
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    begins, ends = (datetime.combine(day, time(), tzinfo=zone) for day in (first, after))
    return Period(f"{window}:{first.isoformat()}", _ms(begins), _ms(ends))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
