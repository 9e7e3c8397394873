"""`python -m tests.bench [--quick] [--out FILE]`: measures, writes FILE and its chart, fails when a bar is missed."""

import argparse
import contextlib
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Final

from tests.bench import nginx, peers
from tests.bench.bars import bars
from tests.bench.cases import FULL, QUICK, SCALED, WHOLE, Plan
from tests.bench.chart import as_svg
from tests.bench.contenders import Contender, awake, running_field, running_scaled, running_whole
from tests.bench.figures import Figures
from tests.bench.held import idle_mib, memory_held
from tests.bench.memory import MIB, memory_of, worker_pid
from tests.bench.outcome import Outcome
from tests.bench.report import as_markdown
from tests.bench.rounds import compare, warm_up
from tests.bench.stages import stages
from tests.bench.stand import Mock, running_mock
from tests.bench.start_up import start_seconds

_RESULTS: Final = Path(__file__).with_name("results.md")
_PACKAGES: Final = ("granian", "starlette", "uvloop", "httptools", "msgspec")


def measure(plan: Plan) -> Figures:
    began, started, load_average = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-proxy-bench-")))
        mock = stack.enter_context(running_mock())
        field = stack.enter_context(running_field(folder, mock))
        with awake(field.ours):
            idle_worker = memory_of(worker_pid(field.proxy)).rss / MIB
            found_stages = stages(field.proxy, mock.port)
            held = memory_held(plan, field.proxy)
        starts_s = start_seconds(folder, mock)
        warm_up(field.contenders)
        outcomes = [_told(compare(plan, case, field.contenders)) for case in plan.cases]
        idle_whole = None
        if plan.with_whole:
            outcome, idle_whole = _whole(plan, folder, mock, field.contenders)
            outcomes.append(outcome)
            with running_scaled(folder, mock) as scaled:
                outcomes.append(_told(compare(plan, SCALED, scaled)))
    return Figures(
        plan=plan,
        began=began,
        took_s=time.monotonic() - started,
        load_average=load_average,
        versions=_versions(),
        absent=field.absent,
        outcomes=outcomes,
        stages=found_stages,
        held=held,
        idle_worker_mib=idle_worker,
        idle_whole_mib=idle_whole,
        starts_s=starts_s,
    )


def _whole(plan: Plan, folder: Path, mock: Mock, others: Iterable[Contender]) -> tuple[Outcome, float]:
    """And the memory that the product takes before it has done anything."""
    with running_whole(folder, mock) as products:
        idle = idle_mib(products[0].pid)
        limits = [other for other in others if other.name in ("nginx", "direct")]
        return _told(compare(plan, WHOLE, [*products, *limits], until_idle=True)), idle


def _told(outcome: Outcome) -> Outcome:
    rates = ", ".join(f"{name} {outcome.median(name, lambda turn: turn.rate):,.0f}" for name in outcome.turns)
    print(f"{outcome.case.name} ({outcome.case.unit}): {rates}", flush=True)
    for name, reason in outcome.cannot.items():
        print(f"    without {name}: {reason}", flush=True)
    return outcome


def _versions() -> list[str]:
    ours = [f"{name} {version(name)}" for name in _PACKAGES]
    limit = [nginx.version()] if nginx.installed() else []
    return [f"Python {platform.python_version()}", *ours, *limit, *peers.versions()]


def _stop(number: int, frame: FrameType | None) -> None:
    """Unwinds, whoever asks and from wherever we were started: sleeping contenders would be left behind."""
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes: fewer cases, wider noise")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="where the figures are written")
    chosen = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    figures = measure(QUICK if chosen.quick else FULL)
    chart: Path = chosen.out.with_suffix(".svg")
    chart.write_text(as_svg(figures.outcomes))
    chosen.out.write_text(as_markdown(figures, chart.name))
    found = bars(figures)
    for bar in found:
        measured = "" if bar.measured is None else f"{bar.measured:.3g}{bar.unit} "
        print(f"{bar.what}: {measured}(wanted {bar.wanted}): {bar.verdict.strip('*')}")
    return 1 if any(bar.is_missed for bar in found) else 0


if __name__ == "__main__":
    sys.exit(main())
