"""The measurements, each as a pure result: rounds of direct and proxied load, one after the other in one run.

A machine is never quiet, so what is compared is taken within seconds of each other, the medians over the rounds are
told, and the direct way is measured as often as the other.
"""

import statistics
from collections.abc import Callable, Sequence

from msgspec import Struct

from tests.bench.load import Job, Told
from tests.bench.memory import Watch, worker_pid
from tests.bench.stand import do, do_and_cost, record_seconds
from tests.support.proxy import Proxy
from tests.support.upstream import Upstream

WARM_UP_S = 0.5


class Plan(Struct, frozen=True):
    """How long to look. The whole run with `FULL` takes under three minutes, with `QUICK` under one."""

    rounds: int
    seconds: float
    """Of one round of JSON."""
    events: int
    """Of one stream in one round."""
    stream_events: int
    """Of the long stream whose memory is watched."""
    size: int = 200 * 1024 * 1024


FULL = Plan(rounds=5, seconds=1.5, events=250, stream_events=150_000)
QUICK = Plan(rounds=3, seconds=0.7, events=120, stream_events=50_000)
GAP_MS = 10.0
STREAMS = 64


class ChunkDelay(Struct, frozen=True):
    """Milliseconds from the upstream's write to the client's read, medians over rounds."""

    name: str
    direct_p50: float
    direct_p99: float
    proxy_p50: float
    proxy_p99: float
    added_p50: float
    """Median over rounds of the difference within a round."""
    added_p99: float
    first_p50: float
    """Added time to the first byte."""
    cpu_us: float
    """Processor time of the worker for each chunk, its share of the exchange's beginning and end included."""
    lost: int
    """Chunks that were sent and not seen."""


class JsonLoad(Struct, frozen=True):
    concurrency: int
    direct_p50_ms: float
    proxy_p50_ms: float
    proxy_p99_ms: float
    added_p50_ms: float
    direct_rps: float
    proxy_rps: float
    cpu_us: float
    """Processor time of the worker for each request; it says more than the rest when the machine is not quiet."""
    unrecorded_rps: float
    unrecorded_cpu_us: float
    recording_ratio: float
    """Requests a second with recording on to those with it off, median over rounds."""


class Held(Struct, frozen=True):
    """Memory in MiB."""

    name: str
    seconds: float
    rss_before: float
    rss_most: float
    rss_after: float
    pss_before: float
    pss_most: float
    pss_after: float


class RecordCost(Struct, frozen=True):
    mean_us: float
    p50_at_most_us: float
    p99_at_most_us: float
    """Upper bounds of the histogram's buckets."""
    count: int


def chunk_delay(plan: Plan, upstream: Upstream, proxy: Proxy, *, spread: bool) -> ChunkDelay:
    pid = worker_pid(proxy)

    def job(port: int, events: int = plan.events) -> Job:
        return Job(
            kind="streams",
            port=port,
            token=proxy.token,
            concurrency=STREAMS,
            events=events,
            gap_ms=GAP_MS,
            spread=spread,
        )

    do(job(proxy.port, events=20))
    rounds = [(do(job(upstream.port)), *do_and_cost(job(proxy.port), pid)) for _ in range(plan.rounds)]
    return ChunkDelay(
        name="each at its own time" if spread else "all in lock step",
        direct_p50=_median_ms([d.p50_us for d, _, _ in rounds]),
        direct_p99=_median_ms([d.p99_us for d, _, _ in rounds]),
        proxy_p50=_median_ms([p.p50_us for _, p, _ in rounds]),
        proxy_p99=_median_ms([p.p99_us for _, p, _ in rounds]),
        added_p50=_median_ms([p.p50_us - d.p50_us for d, p, _ in rounds]),
        added_p99=_median_ms([p.p99_us - d.p99_us for d, p, _ in rounds]),
        first_p50=_median_ms([p.first_p50_us - d.first_p50_us for d, p, _ in rounds]),
        cpu_us=statistics.median(cost for _, _, cost in rounds),
        lost=sum(STREAMS * plan.events - p.count for _, p, _ in rounds),
    )


def json_load(plan: Plan, upstream: Upstream, proxy: Proxy, unrecorded: Proxy, concurrency: int) -> JsonLoad:
    def job(port: int, token: str = "", seconds: float = plan.seconds) -> Job:
        return Job(kind="json", port=port, token=token, concurrency=concurrency, seconds=seconds)

    def one_round() -> tuple[Told, Told, float, Told, float]:
        direct = do(job(upstream.port))
        on = do_and_cost(job(proxy.port, proxy.token), worker_pid(proxy))
        off = do_and_cost(job(unrecorded.port, unrecorded.token), worker_pid(unrecorded))
        return direct, *on, *off

    for one in (proxy, unrecorded):
        do(job(one.port, one.token, WARM_UP_S))
    rounds = [one_round() for _ in range(plan.rounds)]
    return JsonLoad(
        concurrency=concurrency,
        direct_p50_ms=_median_ms([d.p50_us for d, _, _, _, _ in rounds]),
        proxy_p50_ms=_median_ms([on.p50_us for _, on, _, _, _ in rounds]),
        proxy_p99_ms=_median_ms([on.p99_us for _, on, _, _, _ in rounds]),
        added_p50_ms=_median_ms([on.p50_us - d.p50_us for d, on, _, _, _ in rounds]),
        direct_rps=statistics.median(rate(d) for d, _, _, _, _ in rounds),
        proxy_rps=statistics.median(rate(on) for _, on, _, _, _ in rounds),
        cpu_us=statistics.median(cost for _, _, cost, _, _ in rounds),
        unrecorded_rps=statistics.median(rate(off) for _, _, _, off, _ in rounds),
        unrecorded_cpu_us=statistics.median(cost for _, _, _, _, cost in rounds),
        recording_ratio=statistics.median(rate(on) / rate(off) for _, on, _, off, _ in rounds),
    )


def rate(told: Told) -> float:
    return told.count / told.seconds


def memory_held(plan: Plan, proxy: Proxy) -> list[Held]:
    """While a large body goes up, one comes down, and a stream as fast as it can be read."""
    token, port, pid = proxy.token, proxy.port, worker_pid(proxy)
    jobs = {
        f"{plan.size // 2**20} MiB request body": Job(kind="upload", port=port, token=token, size=plan.size),
        f"{plan.size // 2**20} MiB response body": Job(kind="download", port=port, token=token, size=plan.size),
        f"a stream of {plan.stream_events:,} events": Job(
            kind="streams", port=port, token=token, events=plan.stream_events
        ),
    }
    return [_held(name, pid, lambda job=job: do(job)) for name, job in jobs.items()]  # type: ignore[misc]


def record_cost(proxy: Proxy) -> RecordCost:
    """Over all exchanges that this proxy has recorded so far."""
    total_s, count, buckets = record_seconds(proxy)
    return RecordCost(
        mean_us=total_s / max(count, 1) * 1e6,
        p50_at_most_us=_bound(buckets, count * 0.5),
        p99_at_most_us=_bound(buckets, count * 0.99),
        count=count,
    )


def _bound(buckets: list[tuple[float, int]], rank: float) -> float:
    return next((bound * 1e6 for bound, below in buckets if below >= rank), float("inf"))


def _held(name: str, pid: int, act: Callable[[], object]) -> Held:
    with Watch(pid) as seen:
        act()
    moments = (seen.before, seen.most, seen.after)
    rss, pss = [m.rss / 2**20 for m in moments], [m.pss / 2**20 for m in moments]
    return Held(name, seen.seconds, rss[0], rss[1], rss[2], pss[0], pss[1], pss[2])


def _median_ms(values_us: Sequence[float]) -> float:
    return statistics.median(values_us) / 1000
