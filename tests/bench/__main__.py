"""`python -m tests.bench [--quick] [--out FILE]`: measures, writes results.md, and fails when a bar is missed."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

from tests.bench.report import Figures, as_markdown, bars, now
from tests.bench.rounds import FULL, QUICK, Plan, chunk_delay, json_load, memory_held, record_cost
from tests.bench.stand import running_mock, running_proxy

_T = TypeVar("_T")
_RESULTS = Path(__file__).with_name("results.md")


def measure(plan: Plan) -> Figures:
    began, started, load_average = now(), time.monotonic(), os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as folder,
        running_mock() as upstream,
        running_proxy(Path(folder, "on"), upstream) as proxy,
        running_proxy(Path(folder, "off"), upstream, OBSERVABILITY_ENABLED="false") as unrecorded,
    ):
        loads = [_told(json_load(plan, upstream, proxy, unrecorded, c)) for c in (1, 16, 64)]
        record = _told(record_cost(proxy))
        delays = [_told(chunk_delay(plan, upstream, proxy, spread=spread)) for spread in (True, False)]
        held = _told(memory_held(plan, proxy))
    took_s = time.monotonic() - started
    return Figures(plan, began, took_s, load_average, delays, loads, held, record)


def _told(figure: _T) -> _T:
    print(figure, flush=True)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, with wider noise")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="where the figures are written")
    chosen = parser.parse_args()
    figures = measure(QUICK if chosen.quick else FULL)
    chosen.out.write_text(as_markdown(figures))
    for bar in bars(figures):
        print(f"{'met   ' if bar.is_met else 'MISSED'} {bar.what}: {bar.measured} (wanted {bar.wanted})")
    return 0 if all(bar.is_met for bar in bars(figures)) else 1


if __name__ == "__main__":
    sys.exit(main())
