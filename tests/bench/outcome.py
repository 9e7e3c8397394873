"""What came of a case: every contender's turns, and what can be said of them. Ratios are taken within a round."""

import statistics
from collections.abc import Callable

from msgspec import Struct

from tests.bench.cases import AGAIN, Case

SATURATED = 0.85
"""Of its core: below it, the load was the limit of a contender's rate, and only its processor time can be compared."""


class Turn(Struct, frozen=True):
    """Of one contender in one round."""

    rate: float
    """Answers or chunks a second."""
    p50_us: float
    p99_us: float
    cpu_us: float
    """Processor time of all its processes for each of them."""
    busy: float
    """How much of the core it used: well below 1, the load was the limit, not the contender."""
    lost: int = 0
    """Chunks that were not seen in time."""


class Ratio(Struct, frozen=True):
    """Over the rounds."""

    median: float
    least: float
    most: float


class Outcome(Struct, frozen=True):
    case: Case
    turns: dict[str, list[Turn]]
    cannot: dict[str, str]
    """Contender to reason."""

    def median(self, name: str, what: Callable[[Turn], float]) -> float:
        return statistics.median(what(turn) for turn in self.turns[name])

    def ratio(self, name: str, to: str, what: Callable[[Turn], float] = lambda turn: turn.rate) -> Ratio | None:
        """None when either was not measured."""
        if name not in self.turns or to not in self.turns:
            return None
        ratios = [what(a) / what(b) for a, b in zip(self.turns[name], self.turns[to], strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    def added_us(self, name: str, what: Callable[[Turn], float], to: str = "direct") -> float:
        """Median over rounds of the difference within a round."""
        pairs = zip(self.turns[name], self.turns[to], strict=True)
        return statistics.median(what(a) - what(b) for a, b in pairs)

    def of_the_limit(self, name: str, limit: str = "nginx") -> Ratio | None:
        """Ratio of rates; of processor time where the load kept `limit` from showing its own."""
        if limit in self.turns and self.is_held_back(limit):
            return self.ratio(limit, name, lambda turn: turn.cpu_us)
        return self.ratio(name, limit)

    def is_held_back(self, name: str) -> bool:
        """Never by a single connection, which is about latency."""
        return self.case.concurrency > 1 and self.median(name, lambda turn: turn.busy) < SATURATED

    def noise(self, what: Callable[[Turn], float] = lambda turn: turn.rate) -> float | None:
        """Of the A/A pair, as a part of 1: half the range of its ratios, or their distance from 1. None without it."""
        ratio = self.ratio("ours", AGAIN, what)
        return None if ratio is None else max((ratio.most - ratio.least) / 2, abs(ratio.median - 1))
