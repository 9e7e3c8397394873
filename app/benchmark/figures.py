"""What the samples say: rates, percentiles, what the proxy adds, and how one run stands against another."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from app.benchmark.call import Sample
from app.benchmark.plan import Side

VERSION = 1
"""Of the report's form."""


class Spread(Struct, frozen=True):
    """Of the calls that went well, in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float
    mean: float


class Figures(Struct, frozen=True, kw_only=True):
    side: Side
    requests: int
    failed: int
    per_s: float
    """Calls that went well, a second."""
    latency_ms: Spread | None
    ttft_ms: Spread | None
    completion_tokens: int
    tokens_per_s: float
    """Of all calls together."""
    bytes: int
    statuses: dict[str, int]
    codes: dict[str, int]


class Report(Struct, frozen=True, kw_only=True):
    version: int = VERSION
    started_at: str
    settings: dict[str, str | int | float | bool | None]
    seconds: float
    proxy: Figures
    direct: Figures | None = None
    added_ms: Spread | None = None
    """What each of the proxy's figures has more than direct's; may be below zero where both are noise."""


class Difference(Struct, frozen=True):
    name: str
    before: float
    after: float

    @property
    def percent(self) -> float | None:
        """None: there was nothing before."""
        return (self.after / self.before - 1) * 100 if self.before else None


def figures_of(side: Side, samples: Sequence[Sample], seconds: float) -> Figures:
    mine = [sample for sample in samples if sample.side == side]
    good = [sample for sample in mine if sample.is_good]
    tokens = sum(sample.completion_tokens for sample in good)
    return Figures(
        side=side,
        requests=len(mine),
        failed=len(mine) - len(good),
        per_s=_per_s(len(good), seconds),
        latency_ms=spread_of([sample.latency_ms for sample in good]),
        ttft_ms=spread_of([sample.ttft_ms for sample in good if sample.ttft_ms is not None]),
        completion_tokens=tokens,
        tokens_per_s=_per_s(tokens, seconds),
        bytes=sum(sample.size for sample in mine),
        statuses=_counted([str(sample.status or "none") for sample in mine]),
        codes=_counted([sample.code for sample in mine if sample.code]),
    )


def spread_of(values: Sequence[float]) -> Spread | None:
    """None: there are none. A percentile is a value that was seen: the smallest that so many do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p95, p99 = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 95, 99))
    return Spread(*(round(value, 3) for value in (p50, p95, p99, ordered[-1], sum(ordered) / len(ordered))))


def added(proxy: Figures, direct: Figures) -> Spread | None:
    mine, theirs = proxy.latency_ms, direct.latency_ms
    if mine is None or theirs is None:
        return None
    names = Spread.__struct_fields__
    return Spread(*(round(getattr(mine, name) - getattr(theirs, name), 3) for name in names))


def compared(before: Report, after: Report) -> list[Difference]:
    """Line by line what both runs have."""
    one, other = _lines(before), _lines(after)
    return [Difference(name, one[name], other[name]) for name in one if name in other]


def _lines(report: Report) -> dict[str, float]:
    proxy = report.proxy
    lines = {"requests/s": proxy.per_s, "failed": float(proxy.failed), "tokens/s": proxy.tokens_per_s}
    spreads = {"latency": proxy.latency_ms, "ttft": proxy.ttft_ms, "added": report.added_ms}
    for name, spread in spreads.items():
        if spread is not None:
            lines |= {f"{name} {part} ms": getattr(spread, part) for part in ("p50", "p95", "p99", "max")}
    return lines


def _per_s(number: int, seconds: float) -> float:
    return round(number / seconds, 2) if seconds else 0.0


def _counted(names: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
