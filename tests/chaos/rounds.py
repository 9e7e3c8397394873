"""The short rounds that every test run contains: each kind once, all of a deployment in one act."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos.fault import Kind
from tests.chaos.nemesis import Act, Ended, play
from tests.chaos.schedule import once_each
from tests.chaos.shapes import Shape

SEED = int(os.environ.get("CHAOS_SEED", "7"))


def short_round(shape: Shape, kinds: Sequence[Kind], folder: Path) -> Ended:
    """Skips where the deployment cannot be made."""
    if not shape.can_run:
        pytest.skip(f"{shape.name} needs root: {len(kinds)} kinds of faults are left out")
    steps = tuple(once_each(kinds, SEED))
    return play(Act(shape=shape, steps=steps, seed=SEED, per_second=60), folder)


def told(ended: Ended) -> str:
    """What a failing test shows: how to have it again."""
    return f"seed {SEED} (CHAOS_SEED), {ended.act.shape.name}: " + "\n".join(ended.failures)


def failure_of(kind: Kind, ended: Ended) -> str:
    """Empty when the system came through it."""
    struck = [struck for struck in ended.struck if kind.name in struck.step.kinds]
    return struck[0].failure if struck else f"the round ended before it: {ended.failure}"
