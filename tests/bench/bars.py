"""The bars, and whether this run meets them. What the A/A pair shows as noise is allowed for, and said."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from tests.bench.cases import ALONE, BURST, JSON, PACED, WHOLE
from tests.bench.figures import Figures
from tests.bench.outcome import Outcome, Turn

MAX_GROWTH_MIB: Final = 40.0
NOT_HERE: Final = "growth over a soak and processor time with 100,000 tokens against 1 are in soak.md and growth.md"


class Bar(Struct, frozen=True):
    what: str
    limit: float
    measured: float | None
    """None: it could not be measured."""
    unit: str = ""
    is_floor: bool = True
    noise: float = 0.0
    """As a part of what was measured."""
    why_not: str = ""

    @property
    def wanted(self) -> str:
        return f"{'>=' if self.is_floor else '<='} {self.limit:g}{self.unit}"

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return f"not measured: {self.why_not}"
        if self._is_met_by(self.measured):
            return "met"
        better = self.measured * (1 + self.noise if self.is_floor else 1 - self.noise)
        return "missed within the noise" if self._is_met_by(better) else "**missed**"

    @property
    def is_missed(self) -> bool:
        return self.verdict == "**missed**"

    def _is_met_by(self, value: float) -> bool:
        return value >= self.limit if self.is_floor else value <= self.limit


def bars(figures: Figures) -> list[Bar]:
    start = Bar("start of the server until /ready, the quickest", 1.5, min(figures.starts_s), " s", is_floor=False)
    found = [*_throughput(figures), *_delays(figures), *_memory(figures), start]
    whole = figures.outcome(WHOLE)
    if whole is not None:
        what = "the same, the whole product on that core: of nginx"
        found.insert(3, _ratio(figures, what, whole, 0.12, "whole, embedded bus", "nginx"))
    return found


def _throughput(figures: Figures) -> Iterator[Bar]:
    load, burst = figures.outcome(JSON), figures.outcome(BURST)
    if load is not None:
        yield _ratio(figures, "JSON 1 KiB, c=64: of nginx", load, 0.20, "ours", "nginx")
        yield _ratio(figures, "JSON 1 KiB, c=64: of LiteLLM", load, 75, "ours", "LiteLLM")
        yield _ratio(figures, "JSON 1 KiB, c=64: of Portkey", load, 10, "ours", "Portkey")
        yield _ratio(figures, "recording on: of off, JSON, c=64", load, 0.85, "ours", "ours, unrecorded")
    if burst is not None:
        yield _ratio(figures, "SSE burst, chunks/s: of nginx", burst, 0.25, "ours", "nginx")


def _ratio(figures: Figures, what: str, outcome: Outcome, limit: float, name: str, to: str) -> Bar:
    ratio = outcome.of_the_limit(name, to) if to == "nginx" else outcome.ratio(name, to)
    why_not = outcome.cannot.get(to) or outcome.cannot.get(name) or figures.absent.get(to, "")
    load = figures.outcome(JSON)
    noise = outcome.noise() or (load.noise() if load is not None else None) or 0.0
    return Bar(what, limit, None if ratio is None else ratio.median, noise=noise, why_not=f"{to}: {why_not}")


def _delays(figures: Figures) -> Iterator[Bar]:
    alone, paced = figures.outcome(ALONE), figures.outcome(PACED)
    if alone is not None:
        yield _delay("JSON, c=1: added latency, p50", alone, 0.30, lambda turn: turn.p50_us)
    if paced is not None:
        yield _delay("SSE paced, 64 streams: added per chunk, p50", paced, 0.4, lambda turn: turn.p50_us)
        if "nginx" in paced.turns:
            limit = paced.added_us("nginx", lambda turn: turn.p99_us) / 1000 + 3
            yield _delay("the same, p99: nginx's and 3 ms", paced, round(limit, 2), lambda turn: turn.p99_us)


def _delay(what: str, outcome: Outcome, limit: float, of: Callable[[Turn], float]) -> Bar:
    if "ours" not in outcome.turns or "direct" not in outcome.turns:
        return Bar(what, limit, None, " ms", is_floor=False, why_not=outcome.cannot.get("ours", ""))
    return Bar(what, limit, outcome.added_us("ours", of) / 1000, " ms", is_floor=False, noise=outcome.noise(of) or 0.0)


def _memory(figures: Figures) -> Iterator[Bar]:
    yield Bar("memory of an idle worker (RSS)", 90, figures.idle_worker_mib, " MiB", is_floor=False)
    if figures.idle_whole_mib is not None:
        yield Bar(
            "memory of the idle product, all processes (PSS)", 300, figures.idle_whole_mib, " MiB", is_floor=False
        )
    growth = max(held.rss_most - held.rss_before for held in figures.held)
    yield Bar("growth while large bodies and a long stream pass", MAX_GROWTH_MIB, growth, " MiB", is_floor=False)
