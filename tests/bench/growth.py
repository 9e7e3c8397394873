"""`python -m tests.bench.growth [--rounds 8] [--rows 1000000]`: cost as it grows; writes growth.md.

Tokens and projects in the database, streams at once, recorded exchanges. Whoever is compared takes turns of a second
and a half; costs are the lowest tenth of the rounds, since others only ever add to them.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from tests.bench.cases import Case
from tests.bench.contenders import Contender, awake
from tests.bench.filled import add_tokens
from tests.bench.gauges import gauge_of
from tests.bench.growth_rows import Rows, measured_rows
from tests.bench.load import Job
from tests.bench.memory import MIB, Watch, cpu_seconds, worker_pid
from tests.bench.outcome import Turn
from tests.bench.rounds import one_turn
from tests.bench.stand import Mock, do, running_mock, running_proxy
from tests.support.proxy import Proxy

_REPORT: Final = Path(__file__).with_name("growth.md")
_TOKENS: Final = (1, 1, 1000, 100_000)
"""The first two are the A/A pair."""
_STREAMS: Final = (1, 100, 2000)
_STREAM_EVENTS: Final = 8
_STREAM_ROUNDS: Final = 3
_GAP_MS: Final = 1000.0
_SECONDS: Final = 1.5
MOST: Final = 1.05
"""Processor time of a call with many tokens in the database, against one."""
ONE: Final = Case(name="one token", kind="json", concurrency=16)
FEW_ROWS: Final = 1000


class Filled(Struct, frozen=True):
    """A proxy with so many tokens in its database, and what its turns came to."""

    tokens: int
    proxy: Proxy
    token: str
    """One of them."""
    all_tokens: str
    """Path of the file that has them all."""
    turns: list[Turn]
    by_all: list[Turn]
    """Each call shows another one."""

    def contender(self, *, by_all: bool = False) -> Contender:
        assert self.proxy.process is not None

        def job(case: Case, seconds: float) -> Job:
            asked = case.job(self.proxy.port, self.token, seconds)
            return structs.replace(asked, tokens=self.all_tokens) if by_all else asked

        return Contender(f"{self.tokens:,}", self.proxy.process.pid, job)

    def cpu_us(self, turns: Sequence[Turn]) -> float:
        return lowest_tenth([turn.cpu_us for turn in turns])

    def rss_mib(self) -> float:
        return gauge_of(worker_pid(self.proxy)).rss_mib


class Streams(Struct, frozen=True):
    count: int
    chunks_a_second: float
    cpu_us: float
    """Of the worker for each chunk."""
    p50_ms: float
    p99_ms: float
    """From the upstream's writing to the client's reading."""
    before_mib: float
    most_mib: float
    after_mib: float


class Grown(Struct, frozen=True):
    began: datetime
    rounds: int
    load_average: float
    filled: list[Filled]
    rss_mib: list[tuple[float, float]]
    """Of the worker of each: after the calls by one token, and after those by all."""
    streams: list[Streams]
    few: Rows
    many: Rows


def lowest_tenth(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=10)[0] if len(values) > 1 else values[0]


@contextlib.contextmanager
def _filled(folder: Path, mock: Mock, count: int) -> Iterator[Filled]:
    with running_proxy(folder, mock) as proxy:
        known = [*add_tokens(folder / "llm-proxy.db", count - 1), proxy.token]
        named = folder / "tokens"
        named.write_text("\n".join(known))
        filled = Filled(count, proxy, known[len(known) // 2], str(named), [], [])
        one_turn(ONE, filled.contender(), 0.5)
        yield filled


def _tokens(folder: Path, mock: Mock, rounds: int) -> tuple[list[Filled], list[tuple[float, float]]]:
    with contextlib.ExitStack() as stack:
        filled = []
        for number, count in enumerate(_TOKENS):
            filled.append(stack.enter_context(_filled(folder / str(number), mock, count)))
            with awake(filled[-1].contender()):
                pass  # sleeps afterwards
        for number in range(rounds):
            for one in filled if number % 2 else reversed(filled):
                one.turns.append(one_turn(ONE, one.contender(), _SECONDS))
        by_one = [one.rss_mib() for one in filled]
        for _ in range(rounds):
            for one in filled:
                one.by_all.append(one_turn(ONE, one.contender(by_all=True), _SECONDS))
        return filled, [(before, one.rss_mib()) for before, one in zip(by_one, filled, strict=True)]


def _streams(folder: Path, mock: Mock) -> list[Streams]:
    with running_proxy(folder, mock, apis={"openai": {"connection": {"max_connections": 4000}}}) as proxy:
        do(Job(kind="json", port=proxy.port, token=proxy.token, concurrency=8, seconds=1))
        rounds = [[_streamed(proxy, count) for count in _STREAMS] for _ in range(_STREAM_ROUNDS)]
        return [min(tries, key=lambda one: one.p50_ms) for tries in zip(*rounds, strict=True)]


def _streamed(proxy: Proxy, count: int) -> Streams:
    pid = worker_pid(proxy)
    job = Job(kind="streams", port=proxy.port, token=proxy.token, concurrency=count, events=_STREAM_EVENTS)
    with Watch(pid, every_s=0.2) as seen:
        before = cpu_seconds(pid)
        told = do(structs.replace(job, gap_ms=_GAP_MS, longest_s=50))
        cpu_s = cpu_seconds(pid) - before
    return Streams(
        count,
        told.count / told.seconds,
        cpu_s / told.count * 1e6,
        told.p50_us / 1000,
        told.p99_us / 1000,
        seen.before.rss / MIB,
        seen.most.rss / MIB,
        seen.after.rss / MIB,
    )


def measure(rounds: int, rows: int) -> Grown:
    began, load_average = datetime.now(UTC), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="llm-proxy-growth-") as name, running_mock() as mock:
        folder = Path(name)
        filled, rss_mib = _tokens(folder, mock, rounds)
        streams = _streams(folder / "streams", mock)
    return Grown(began, rounds, load_average, filled, rss_mib, streams, measured_rows(FEW_ROWS), measured_rows(rows))


def main() -> int:
    from tests.bench.growth_report import as_markdown, complaints

    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in `requests`; ten million take ten times as long")
    parser.add_argument("--out", type=Path, default=_REPORT)
    chosen = parser.parse_args()
    grown = measure(chosen.rounds, chosen.rows)
    chosen.out.write_text(as_markdown(grown))
    found = complaints(grown)
    print(*(found or ["no cost grew beyond its bar"]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
