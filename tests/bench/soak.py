"""`python -m tests.bench.soak [--minutes 45]`: mixed load for long, and what each process holds meanwhile.

Writes soak.md beside this; fails when a process's memory, files or threads grow, or the load had an unexpected answer.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench.gauges import Look, counted, growth, look
from tests.bench.mixed import Mix
from tests.bench.stand import WholeProduct, running_mock, running_proxy
from tests.bench.watching import watched
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

_REPORT: Final = Path(__file__).with_name("soak.md")
_BEFORE_S: Final = 5 * 60.0
"""Caches fill and what is needed rarely is loaded; of a shorter run the first third."""
MOST_GROWTH: Final = 0.10
_MORE_FILES: Final = 8
"""Open files and threads may go up and down with the load by so many."""
_IN_FLIGHT: Final = "llm_proxy_inflight_requests"
_EXPECTED: Final = {"ten answers", "whole stream", "upload", "left", "refused with 401", "manage 200"}


def run(minutes: float, every_s: float) -> tuple[list[Look], Counter[str]]:
    with tempfile.TemporaryDirectory(prefix="llm-proxy-soak-") as folder, running_mock() as mock:
        environ = {"LLM_PROXY_MANAGE_RPM": "0"}
        with running_proxy(Path(folder), mock, WholeProduct, environ=environ) as product:
            return soaked(product, minutes, every_s)


def soaked(product: Proxy, minutes: float, every_s: float) -> tuple[list[Look], Counter[str]]:
    mix = Mix(port=product.port, token=product.token, seconds=minutes * 60)
    began = time.monotonic()
    before = look(product, began)
    during, told = watched(product, "tests.bench.mixed", mix, began=began, every_s=every_s, told=_line)
    with contextlib.suppress(AssertionError):  # then it is a complaint
        eventually(lambda: counted(product).get(_IN_FLIGHT) == 0, every_s=1)
    return [before, *during, look(product, began)], Counter(json.loads(told))


def _line(seen: Look) -> str:
    held = ", ".join(f"{name} {g.rss_mib:.1f} MiB {g.files} files" for name, g in seen.processes.items())
    return f"{seen.at_s / 60:.1f} min: {held}"


def settled(looks: Sequence[Look]) -> list[Look]:
    """Those after the first minutes."""
    before_s = min(_BEFORE_S, looks[-1].at_s / 3)
    return [one for one in looks if one.at_s >= before_s]


def series(looks: Sequence[Look], part: str, field: str) -> list[tuple[float, float]]:
    return [(one.at_s, getattr(one.processes[part], field)) for one in looks if part in one.processes]


def complaints(looks: Sequence[Look], came: Counter[str]) -> list[str]:
    found = [f"{count} x {what}" for what, count in came.items() if what not in _EXPECTED]
    late = settled(looks)
    for part in late[0].processes:
        grown = growth(series(late, part, "rss_mib"))
        if grown > MOST_GROWTH:
            found.append(f"memory of {part} grew by {grown:.0%}")
        for field in ("files", "threads"):
            first, *_, last = series(late, part, field)
            if growth(series(late, part, field)) > MOST_GROWTH and last[1] > first[1] + _MORE_FILES:
                found.append(f"{field} of {part} went from {first[1]:.0f} to {last[1]:.0f}")
    if gone := set(late[0].processes) ^ set(late[-1].processes):
        found.append(f"not there from beginning to end: {', '.join(sorted(gone))}")
    if left := late[-1].counted.get(_IN_FLIGHT):
        found.append(f"{left:.0f} exchanges were under way after the load's end")
    if dropped := late[-1].counted.get("llm_proxy_record_dropped_total"):
        found.append(f"{dropped:.0f} events were dropped")
    return found


def as_markdown(looks: Sequence[Look], came: Counter[str], began: datetime) -> str:
    late, found = settled(looks), complaints(looks, came)
    return "\n".join(
        [
            "# A soak: `python -m tests.bench.soak`",
            "",
            f"{began:%Y-%m-%d %H:%M} UTC, {looks[-1].at_s / 60:.0f} minutes of mixed load on the whole product (one",
            "worker, embedded bus, SQLite, bodies recorded in full): calls over kept connections, streams of 30",
            "events, uploads of 2 MiB, clients that leave at any moment, unknown tokens, /manage. The last look is",
            "after the load's end. Growth is along a Theil-Sen slope from minute",
            f"{late[0].at_s / 60:.0f} to the end; more than {MOST_GROWTH:.0%} fails.",
            "",
            *([f"- **{one}**" for one in found] or ["Nothing grew, nothing was lost, no answer was unexpected."]),
            "",
            *_growth_table(late),
            "",
            "## What came of the load",
            "| answer | times |\n|---|--:|",
            *(f"| {what} | {count:,} |" for what, count in sorted(came.items())),
            "",
            "## Minute by minute: MiB (RSS), open files, threads",
            *_minutes(looks),
            "",
        ]
    )  # fmt: skip


def _growth_table(late: Sequence[Look]) -> list[str]:
    rows = [
        "| process | MiB then | MiB at the end | growth | files then and at the end | threads |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for part in late[0].processes:
        first, last = late[0].processes[part], late[-1].processes.get(part, late[0].processes[part])
        grown = growth(series(late, part, "rss_mib"))
        rows.append(
            f"| {part} | {first.rss_mib:.1f} | {last.rss_mib:.1f} | {grown:+.1%} "
            f"| {first.files} / {last.files} | {first.threads} / {last.threads} |"
        )
    return rows


def _minutes(looks: Sequence[Look]) -> list[str]:
    parts = list(looks[-1].processes)
    names = ("upstream connections", "waiting", "in flight")
    rows = [f"| minute | {' | '.join([*parts, *names])} |", "|--:|" + "--:|" * (len(parts) + len(names))]
    for one in looks:
        held = (one.processes.get(part) for part in parts)
        cells = [f"{g.rss_mib:.1f}, {g.files}, {g.threads}" if g else "" for g in held]
        cells += [f"{value:.0f}" for value in list(one.counted.values())[:3]] or ["", "", ""]
        rows.append(f"| {one.at_s / 60:.0f} | {' | '.join(cells)} |")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--every", type=float, default=60, help="seconds between two looks")
    parser.add_argument("--out", type=Path, default=_REPORT)
    chosen = parser.parse_args()
    began = datetime.now(UTC)
    looks, came = run(chosen.minutes, chosen.every)
    chosen.out.write_text(as_markdown(looks, came, began))
    found = complaints(looks, came)
    print(*(found or ["flat"]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
