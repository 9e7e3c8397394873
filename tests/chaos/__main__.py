"""`python -m tests.chaos --minutes 60 --bus embedded --seed 1` breaks a running system for an hour.

The run is a row of acts, each with a fresh data folder, a dozen of faults and a verdict. One bad act ends the run with
exit code 1, its seed and the shortest schedule that still fails.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.chaos import report
from tests.chaos.catalogue import KINDS, kinds_for
from tests.chaos.nemesis import Act, Ended, Struck, play
from tests.chaos.schedule import Step, endless
from tests.chaos.shapes import SHAPES, Shape
from tests.chaos.shrink import shrink

_STEPS = 12
_SHRINKING_RUNS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and disks unmounted
    root = Path(tempfile.mkdtemp(prefix="chaos-"))
    shapes = [shape for shape in SHAPES.values() if shape.bus == chosen.bus and chosen.shape in ("", shape.name)]
    left_out = [shape.name for shape in shapes if not shape.can_run]
    acts = _Acts([shape for shape in shapes if shape.can_run], chosen, root)
    ended: list[Ended] = []
    until = time.monotonic() + 60 * chosen.minutes
    while time.monotonic() < until:
        ended.append(acts.next())
        _tell(ended[-1], len(ended))
        if not ended[-1].is_good:
            break
    if chosen.report:
        report.write(Path(chosen.report), ended, bus=chosen.bus, seed=chosen.seed, left_out=left_out)
    if ended[-1].is_good:
        shutil.rmtree(root)
        return 0
    _explain(ended[-1], chosen.seed, root)
    return 1


class _Acts:
    """The acts of a seed, one after the other: the shapes take turns, each going on with its own schedule."""

    def __init__(self, shapes: Sequence[Shape], chosen: argparse.Namespace, root: Path) -> None:
        self._shapes, self._chosen, self._root, self._count = shapes, chosen, root, 0
        kinds = {shape.name: [k for k in kinds_for(shape.name) if _is_chosen(k.name, chosen)] for shape in shapes}
        self._more = {shape.name: endless(kinds[shape.name], chosen.seed) for shape in shapes if kinds[shape.name]}

    def next(self) -> Ended:
        shapes = [shape for shape in self._shapes if shape.name in self._more]
        shape = shapes[self._count % len(shapes)]
        self._count += 1
        act = Act(
            shape=shape,
            steps=tuple(self._more[shape.name](self._chosen.steps)),
            seed=self._chosen.seed * 1000 + self._count,
            per_second=self._chosen.rate,
            connections=self._chosen.connections,
            calm_s=self._chosen.calm,
        )
        folder = self._root / f"act{self._count}"
        ended = play(act, folder, tell=_tell_of_a_step)
        if ended.is_good:
            shutil.rmtree(folder)
        return ended


def _is_chosen(name: str, chosen: argparse.Namespace) -> bool:
    return not chosen.kinds or name in chosen.kinds.split(",")


def _tell_of_a_step(struck: Struck) -> None:
    told = f"FAILED: {struck.failure}" if struck.failure else f"recovered in {struck.arrived_s:.1f} s"
    print(f"  {struck.step}: {told}", flush=True)


def _tell(ended: Ended, number: int) -> None:
    verdict = ended.verdict
    counts = f"{verdict.acked} acked, {verdict.admitted} admitted drops" if verdict else "no verdict"
    slowest = max((struck.arrived_s for struck in ended.struck), default=0.0)
    told = "ok" if ended.is_good else "FAILED"
    print(
        f"act {number} {ended.act.shape.name}: {told}, {len(ended.struck)} faults, {counts}, "
        f"slowest recovery {slowest:.1f} s, took {ended.took_s:.0f} s",
        flush=True,
    )


def _explain(ended: Ended, seed: int, root: Path) -> None:
    print(f"\nseed {seed}, shape {ended.act.shape.name}; what is left lies in {root}")
    for failure in ended.failures:
        print(f"  {failure}")
    print("\nlooking for a shorter schedule that fails ...", flush=True)
    count = iter(range(10**6))

    def fails(steps: Sequence[Step]) -> bool:
        folder = root / f"shrink{next(count)}"
        again = play(msgspec.structs.replace(ended.act, steps=tuple(steps)), folder)
        print(f"  {len(steps)} steps: {'ok' if again.is_good else 'fails: ' + again.failures[0]}", flush=True)
        return not again.is_good

    for step in shrink(ended.act.steps, fails, max_runs=_SHRINKING_RUNS):
        print(f"  {step}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--bus", choices=("embedded", "redis"), default="embedded")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shape", choices=("", *SHAPES), default="", help="only this deployment")
    parser.add_argument("--kinds", default="", help=f"only these faults, of: {', '.join(sorted(KINDS))}")
    parser.add_argument("--rate", type=float, default=120, help="calls per second")
    parser.add_argument("--connections", type=int, default=8, help="that make them")
    parser.add_argument("--calm", type=float, default=0, help="seconds of load without a fault after each")
    parser.add_argument("--steps", type=int, default=_STEPS, help="faults per act")
    parser.add_argument("--report", default="", help="path of the report, without its ending")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
