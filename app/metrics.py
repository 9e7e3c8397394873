"""What a worker counts, and how all workers' counts become one scrape.

Each worker keeps plain numbers and writes them to `run/metrics/<worker>.json` once a second; whoever is scraped adds
up its own numbers and all other files, those of dead workers too, so that counters never go down. Labels are bounded:
providers come from the configuration, processors from the pipeline, statuses are classes.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Awaitable
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from app.exchange import Exchange, Proceed

SECONDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
MICROSECONDS: Final = tuple(n / 1e6 for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20_000, 100_000))


class Histogram(Struct):
    """Counts per upper bound (seconds), the last one for +Inf."""

    bounds: tuple[float, ...]
    counts: list[int]
    total_s: float = 0.0

    @classmethod
    def over(cls, bounds: tuple[float, ...]) -> "Histogram":
        return cls(bounds=bounds, counts=[0] * (len(bounds) + 1))

    def observe_ns(self, ns: int) -> None:
        seconds = ns / 1e9
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds

    def add(self, other: "Histogram") -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total_s += other.total_s


class Snapshot(Struct):
    """One worker's numbers. Keys are `name{label="value"}` as Prometheus writes them."""

    counters: dict[str, int] = {}
    gauges: dict[str, float] = {}
    """Added up over living workers; a dead worker's are left out."""
    histograms: dict[str, Histogram] = {}
    pid: int = 0


class Metrics:
    """The numbers of this worker."""

    def __init__(self) -> None:
        self.now = Snapshot(pid=os.getpid())
        self.inflight = 0
        self._by_provider: dict[str, ProviderMetrics] = {}

    def of(self, provider: str) -> "ProviderMetrics":
        return self._by_provider.get(provider) or self._by_provider.setdefault(
            provider, ProviderMetrics(self, provider)
        )

    def count(self, key: str, by: int = 1) -> None:
        counters = self.now.counters
        counters[key] = counters.get(key, 0) + by

    def observe(self, key: str, ns: int, bounds: tuple[float, ...] = SECONDS) -> None:
        self.histogram(key, bounds).observe_ns(ns)

    def histogram(self, key: str, bounds: tuple[float, ...] = SECONDS) -> Histogram:
        """Stays the same one for the life of the worker: who observes on every request may keep it."""
        return self.now.histograms.get(key) or self.now.histograms.setdefault(key, Histogram.over(bounds))

    def gauge(self, key: str, value: float) -> None:
        self.now.gauges[key] = value

    def timed_until_proceed(self, processor: str, proceed: Proceed) -> Proceed:
        """`proceed` that first notes how long `processor` took until it let the exchange proceed.

        What proceeds is entered at that same moment: one look at the clock for both.
        """
        key, histograms = f'llm_proxy_processor_seconds{{processor="{processor}"}}', self.now.histograms

        def observed(exchange: Exchange) -> Awaitable[None]:
            now_ns = time.monotonic_ns()
            histogram = histograms.get(key) or self.histogram(key, MICROSECONDS)
            histogram.observe_ns(now_ns - exchange.entered_ns)
            exchange.entered_ns = now_ns
            return proceed(exchange)

        return observed

    def write(self, folder: Path, worker: str) -> None:
        """Replaces this worker's file in one step; a reader never sees half of it."""
        self.gauge("llm_proxy_inflight_requests", self.inflight)
        target = folder / f"{worker}.json"
        fresh = target.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self.now))
        fresh.replace(target)


class ProviderMetrics:
    """What every exchange with a provider adds to, found once. Each is there from its first observation on."""

    def __init__(self, metrics: Metrics, provider: str) -> None:
        self._metrics = metrics
        self._provider = provider
        self._durations: dict[int, Histogram] = {}
        self.prompt_tokens = f'llm_proxy_prompt_tokens_total{{provider="{provider}"}}'
        self.completion_tokens = f'llm_proxy_completion_tokens_total{{provider="{provider}"}}'

    @cached_property
    def upstream_duration(self) -> Histogram:
        return self._histogram("upstream_duration_seconds")

    @cached_property
    def overhead(self) -> Histogram:
        return self._histogram("overhead_seconds")

    @cached_property
    def time_to_first_byte(self) -> Histogram:
        return self._histogram("time_to_first_byte_seconds")

    def request_duration(self, status: int) -> Histogram:
        found = self._durations.get(status)
        if found is None:
            found = self._durations[status] = self._histogram(
                "request_duration_seconds", f',status="{status // 100}xx"'
            )
        return found

    def _histogram(self, name: str, more: str = "") -> Histogram:
        return self._metrics.histogram(f'llm_proxy_{name}{{provider="{self._provider}"{more}}}')


def collected(folder: Path, own: Metrics | None, worker: str) -> Snapshot:
    """The sum over all workers that ever ran in this server; the one that answers, if it is one, as of now."""
    total = Snapshot()
    if own is not None:
        _add(total, own.now, is_alive=True)
    for path in sorted(folder.glob("*.json")):
        if path.stem == worker:
            continue
        try:
            snapshot = msgspec.json.decode(path.read_bytes(), type=Snapshot)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue  # gone or foreign: a scrape never fails for it
        _add(total, snapshot, is_alive=_is_alive(snapshot.pid))
    return total


def _add(total: Snapshot, part: Snapshot, *, is_alive: bool) -> None:
    for key, value in part.counters.items():
        total.counters[key] = total.counters.get(key, 0) + value
    for key, histogram in part.histograms.items():
        known = total.histograms.setdefault(key, Histogram.over(histogram.bounds))
        known.add(histogram)
    if is_alive:
        for key, gauge in part.gauges.items():
            total.gauges[key] = total.gauges.get(key, 0) + gauge


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() if Path("/proc").exists() else True
