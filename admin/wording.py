"""Figures, sizes, spans and times as people read them. Pure; templates use these as filters."""

from datetime import UTC, datetime

from msgspec import Struct

UNKNOWN = "unknown"
_SPANS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"))


class Moment(Struct, frozen=True):
    """`iso` for the `datetime` attribute, `text` for people; a script turns the text into local time."""

    iso: str
    text: str


def moment(at_ms: int) -> Moment:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return Moment(iso=at.isoformat(timespec="seconds").replace("+00:00", "Z"), text=f"{at:%Y-%m-%d %H:%M:%S} UTC")


def count(number: int) -> str:
    """`12 400`, with thin spaces that do not break."""
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def milliseconds(microseconds: int | None) -> str:
    if microseconds is None:
        return "–"
    if microseconds < 10_000:
        return f"{microseconds / 1000:.1f} ms"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.0f} ms"
    return f"{microseconds / 1_000_000:.1f} s"


def size(number: int) -> str:
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def cost(microusd: int | None) -> str:
    """An unknown price is said to be unknown, never 0."""
    if microusd is None:
        return UNKNOWN
    dollars = microusd / 1_000_000
    return f"${dollars:,.2f}" if dollars >= 1 or microusd == 0 else f"${dollars:.6f}".rstrip("0")


def percent(part: int, whole: int) -> str:
    if whole == 0:
        return "0 %"
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"


def span(milliseconds: int) -> str:
    """The largest unit that fits, rounded: `3 days`, `1 hour`, `moments`."""
    for unit_ms, name in _SPANS:
        if milliseconds >= unit_ms:
            number = round(milliseconds / unit_ms)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "moments"
