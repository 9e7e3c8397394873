"""What came of some time with bad clients, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tests.bench.gauges import Look, growth, slope

if TYPE_CHECKING:
    from tests.bench.abuse import Answer, Found


def as_markdown(found: Found, complaints: Sequence[str], held: Sequence[Look]) -> str:
    first, last = found.looks[0], found.looks[-1]
    return "\n".join(
        [
            "# Bad clients: `python -m tests.bench.abuse`",
            "",
            f"{found.began:%Y-%m-%d %H:%M} UTC, {(last.at_s - first.at_s) / 60:.0f} minutes on the whole product (one",
            "worker, embedded bus, SQLite), all kinds of bad clients at once. Of those that hold on, half do so to the",
            "end, half leave after 20 to 70 seconds and come again. An ordinary client makes ten calls a second",
            "meanwhile. Growth is along a Theil-Sen slope after the first fifth; 10 % fails.",
            "",
            *([f"- **{one}**" for one in complaints] or ["Nothing grew, and the ordinary client had all its answers."]),
            "",
            "## What the bad clients were told",
            "| kind | at once | told, times |\n|---|--:|---|",
            *(f"| {kind} | {found.clients[kind]} | {_told(told)} |" for kind, told in found.told.items()),
            "",
            "## The ordinary client (ms)",
            "| | calls | other than 200 | p50 | p90 | p99 | most |\n|---|--:|--:|--:|--:|--:|--:|",
            _answers("before", found.before),
            _answers("during", found.during),
            _answers("after", found.after),
            "",
            "## What the processes held",
            "| process | MiB before, during, after | growth during | MiB an hour | files | threads |",
            "|---|--:|--:|--:|--:|--:|",
            *(_process(part, first, held, last) for part in first.processes),
            "",
            "## The worker, look by look",
            "| second | MiB | files | threads | upstream connections | waiting | in flight |",
            "|--:|--:|--:|--:|--:|--:|--:|",
            *(_look(one) for one in found.looks),
            "",
        ]
    )  # fmt: skip


def _told(told: dict[str, int]) -> str:
    return "; ".join(f"{what}: {count:,}" for what, count in sorted(told.items()))


def _answers(when: str, answers: Sequence[Answer]) -> str:
    times = sorted(answer.ms for answer in answers) or [0.0]
    cells = [times[int(q * (len(times) - 1))] for q in (0.5, 0.9, 0.99, 1)]
    wrong = sum(answer.told != "200" for answer in answers)
    return f"| {when} | {len(answers):,} | {wrong} | {' | '.join(f'{ms:.1f}' for ms in cells)} |"


def _process(part: str, first: Look, held: Sequence[Look], last: Look) -> str:
    gauges = [look.processes[part] for look in held if part in look.processes]
    points = [(look.at_s, look.processes[part].rss_mib) for look in held if part in look.processes]
    before, after = first.processes[part], last.processes.get(part, first.processes[part])
    return (
        f"| {part} | {before.rss_mib:.1f}, {_median(g.rss_mib for g in gauges):.1f}, {after.rss_mib:.1f} "
        f"| {growth(points):+.1%} | {slope(points) * 3600:+.1f} "
        f"| {before.files}, {_median(g.files for g in gauges):.0f}, {after.files} "
        f"| {before.threads}, {_median(g.threads for g in gauges):.0f}, {after.threads} |"
    )


def _look(one: Look) -> str:
    worker = one.processes.get("worker")
    held = [f"{worker.rss_mib:.1f}", str(worker.files), str(worker.threads)] if worker else ["gone", "", ""]
    return f"| {one.at_s:.0f} | {' | '.join([*held, *(f'{value:.0f}' for value in list(one.counted.values())[:3])])} |"


def _median(values: Iterable[float]) -> float:
    return statistics.median([*values] or [0.0])
