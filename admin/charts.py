"""Small charts as plain geometry; templates (`_bars.html`, `_timeline.html`) draw them as SVG, so they need no script.

Heights and widths are in units of the drawing's own `viewBox`, never pixels.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

WIDTH: Final = 720
HEIGHT: Final = 120
_GAP: Final = 0.2  # share of a bucket's width between two bars
_LEAST_SHARE: Final = 6.0
_LEAST: Final = 2.0  # a bar of one request among thousands is still seen


class Bar(Struct, frozen=True):
    at_ms: int
    requests: int
    errors: int
    x: float
    width: float
    y: float
    height: float
    error_y: float
    error_height: float


class Bars(Struct, frozen=True):
    bars: list[Bar]
    peak: int
    since_ms: int
    until_ms: int


class Segment(Struct, frozen=True):
    name: str
    kind: str
    """Class of its colour."""
    x: float
    width: float
    duration_us: int


class Share(Struct, frozen=True):
    name: str
    kind: str
    """Class of its colour."""
    x: float
    width: float
    number: int


def bars(series: Sequence[tuple[int, int, int]], since_ms: int, until_ms: int, bucket_ms: int) -> Bars:
    """`series` holds (bucket, requests, errors) where there was something; every bucket gets its place."""
    by_bucket = {at: (requests, errors) for at, requests, errors in series}
    peak = max((requests for requests, _ in by_bucket.values()), default=0)
    step = WIDTH * bucket_ms / (until_ms - since_ms)
    drawn = [
        _bar(at, *by_bucket[at], x=step * index, width=step * (1 - _GAP), peak=peak)
        for index, at in enumerate(range(since_ms, until_ms, bucket_ms))
        if at in by_bucket
    ]
    return Bars(drawn, peak, since_ms, until_ms)


def _bar(at_ms: int, requests: int, errors: int, *, x: float, width: float, peak: int) -> Bar:
    height = _height(requests, peak)
    error_height = min(height, _height(errors, peak))
    return Bar(
        at_ms=at_ms,
        requests=requests,
        errors=errors,
        x=round(x, 1),
        width=round(width, 1),
        y=round(HEIGHT - height, 1),
        height=round(height, 1),
        error_y=round(HEIGHT - error_height, 1),
        error_height=round(error_height, 1),
    )


def _height(number: int, peak: int) -> float:
    return max(_LEAST, HEIGHT * number / peak) if number and peak else 0.0


def timeline(head_us: int | None, first_us: int | None, last_us: int | None) -> list[Segment]:
    """Accept to the upstream's head, to the first byte, to the last; unknown steps left out. Empty without an end."""
    if not last_us:
        return []
    segments, begin = [], 0
    for name, kind, end in (
        ("Waiting for the upstream", "wait", head_us),
        ("To the first byte", "head", first_us),
        ("To the last byte", "body", last_us),
    ):
        if end is None or end <= begin:
            continue
        end = min(end, last_us)
        x, width = WIDTH * begin / last_us, WIDTH * (end - begin) / last_us
        segments.append(Segment(name, kind, round(x, 1), round(max(width, 1.0), 1), end - begin))
        begin = end
    return segments


def shares(parts: Sequence[tuple[str, str, int]]) -> tuple[Share, ...]:
    """(name, kind, number) side by side; what is there is seen, however small. Empty when all are 0."""
    there = [(name, kind, number) for name, kind, number in parts if number > 0]
    whole = sum(number for *_, number in there)
    widths = [max(_LEAST_SHARE, WIDTH * number / whole) for *_, number in there]
    drawn, x = [], 0.0
    for (name, kind, number), width in zip(there, widths, strict=True):
        width *= WIDTH / sum(widths)
        drawn.append(Share(name, kind, round(x, 1), round(width, 1), number))
        x += width
    return tuple(drawn)
