"""The figures as Markdown, with how they were taken and which bars they meet. Names no machine and no path."""

import contextlib
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct

from tests.bench.rounds import GAP_MS, STREAMS, ChunkDelay, Held, JsonLoad, Plan, RecordCost

_PACKAGES = ("granian", "starlette", "uvloop", "aiohttp", "msgspec")
_NOT_QUIET = ["", "**Others were at work on this machine: the figures are worse than they should be.**"]
MAX_ADDED_MS = 1.0
MAX_GROWTH_MIB = 40.0


class Figures(Struct, frozen=True):
    plan: Plan
    began: datetime
    took_s: float
    load_average: float
    """Of the machine before the run."""
    delays: list[ChunkDelay]
    loads: list[JsonLoad]
    held: list[Held]
    record: RecordCost


class Bar(Struct, frozen=True):
    what: str
    wanted: str
    measured: str
    is_met: bool


def bars(figures: Figures) -> list[Bar]:
    spread = figures.delays[0]
    growth = max(h.rss_most - h.rss_before for h in figures.held)
    return [
        Bar(
            f"added latency per chunk, p50, {STREAMS} streams",
            f"< {MAX_ADDED_MS:g} ms",
            f"{spread.added_p50:.2f} ms",
            spread.added_p50 < MAX_ADDED_MS,
        ),
        Bar(
            "growth while large bodies and a long stream pass",
            f"< {MAX_GROWTH_MIB:g} MiB",
            f"{growth:.1f} MiB",
            growth < MAX_GROWTH_MIB,
        ),
    ]


def as_markdown(figures: Figures) -> str:
    return "\n".join(
        [
            "# Results of `make bench`",
            "",
            *_method(figures),
            "",
            *_table(
                ("bar", "wanted", "measured", ""),
                [(b.what, b.wanted, b.measured, "met" if b.is_met else "**missed**") for b in bars(figures)],
            ),
            "",
            f"## Delay of a chunk, {STREAMS} streams at once, an event every {GAP_MS:g} ms in each (ms)",
            *_table(
                (
                    "streams run",
                    "direct p50",
                    "p99",
                    "proxy p50",
                    "p99",
                    "added p50",
                    "p99",
                    "to first byte",
                    "CPU us/chunk",
                    "lost",
                ),
                [_delay_row(d) for d in figures.delays],
            ),
            "",
            "## JSON, 1 KiB there and 1 KiB back",
            *_table(
                (
                    "connections",
                    "direct p50 ms",
                    "proxy p50 ms",
                    "p99",
                    "added p50 ms",
                    "direct req/s",
                    "proxy req/s",
                    "of direct",
                    "CPU us/req",
                ),
                [_load_row(load) for load in figures.loads],
            ),
            "",
            "## Recording on and off (`OBSERVABILITY_ENABLED`)",
            *_table(
                ("connections", "on req/s", "off req/s", "on : off", "on CPU us/req", "off CPU us/req"),
                [_recording_row(load) for load in figures.loads],
            ),
            "",
            "## Memory of the worker (MiB, RSS / PSS)",
            *_table(("while passing", "before", "most", "after", "seconds"), [_held_row(h) for h in figures.held]),
            "",
            "## Cost of a record (`llm_proxy_record_seconds`)",
            *_table(("events", "mean", "p50 at most", "p99 at most"), [_record_row(figures.record)]),
            "",
        ]
    )  # fmt: skip


def _method(figures: Figures) -> list[str]:
    plan, cpus = figures.plan, len(os.sched_getaffinity(0))
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    placed = "the proxy on one core, upstream and load on the rest" if cpus > 1 else "everything on one core"
    return [
        f"{figures.began:%Y-%m-%d %H:%M} UTC; Python {platform.python_version()}, {versions}; {cpus} cores, {placed};",
        f"load average before the run {figures.load_average:.1f}; the run took {figures.took_s:.0f} s.",
        "",
        "One worker as the server starts it, SQLite, bodies recorded in full, a log line per request; without keeper",
        "and admin. Plain HTTP over loopback. Upstream, proxy and load generator are processes of their own. Direct",
        f"and proxied rounds alternate within the run ({plan.rounds} of each; JSON {plan.seconds:g} s a round, streams",
        f"{plan.events} events each); a figure is the median over rounds, an added one the median of the differences",
        "within a round. A chunk's delay is the client's clock when it reads it less the upstream's when it wrote it",
        "(one monotonic clock). The upstream's timer wakes once a millisecond, so events that fall into the same one",
        "leave together. Read the ratios, not the absolute figures.",
        *(_NOT_QUIET if figures.load_average > 0.5 else []),
        *_priority(),
    ]  # fmt: skip


def _priority() -> list[str]:
    """Whoever raises the run above its neighbours, as one does on a shared machine, is to say so."""
    with contextlib.suppress(OSError, IndexError):
        raised = int(Path("/proc/self/autogroup").read_text().split()[-1])
        return [f"The run's session had scheduler priority {raised} over theirs."] if raised else []
    return []


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def _delay_row(d: ChunkDelay) -> tuple[str, ...]:
    times = (d.direct_p50, d.direct_p99, d.proxy_p50, d.proxy_p99, d.added_p50, d.added_p99, d.first_p50)
    return (d.name, *(f"{t:.2f}" for t in times), f"{d.cpu_us:.0f}", str(d.lost))


def _load_row(load: JsonLoad) -> tuple[str, ...]:
    times = (load.direct_p50_ms, load.proxy_p50_ms, load.proxy_p99_ms, load.added_p50_ms)
    return (
        str(load.concurrency),
        *(f"{t:.2f}" for t in times),
        f"{load.direct_rps:,.0f}",
        f"{load.proxy_rps:,.0f}",
        f"{load.proxy_rps / load.direct_rps:.2f}",
        f"{load.cpu_us:.0f}",
    )


def _recording_row(load: JsonLoad) -> tuple[str, ...]:
    return (
        str(load.concurrency),
        f"{load.proxy_rps:,.0f}",
        f"{load.unrecorded_rps:,.0f}",
        f"{load.recording_ratio:.2f}",
        f"{load.cpu_us:.0f}",
        f"{load.unrecorded_cpu_us:.0f}",
    )


def _held_row(h: Held) -> tuple[str, ...]:
    pairs = ((h.rss_before, h.pss_before), (h.rss_most, h.pss_most), (h.rss_after, h.pss_after))
    return (h.name, *(f"{rss:.1f} / {pss:.1f}" for rss, pss in pairs), f"{h.seconds:.1f}")


def _record_row(r: RecordCost) -> tuple[str, ...]:
    return (f"{r.count:,}", f"{r.mean_us:.1f} us", f"{r.p50_at_most_us:.0f} us", f"{r.p99_at_most_us:.0f} us")


def now() -> datetime:
    return datetime.now(UTC)
