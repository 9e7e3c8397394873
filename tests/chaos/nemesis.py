"""One act: a stage, a schedule of faults against it under load, and the verdict at its end.

After each fault two times are taken from the moment of its healing: until calls are answered again, and until all that
was acknowledged before has come to every backend. More than RECOVERED_S of either fails the act.
"""

import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

from msgspec import Struct

from tests.chaos.catalogue import KINDS
from tests.chaos.checker import Verdict, check
from tests.chaos.ledger import Ledger, read_embedded, read_redis
from tests.chaos.schedule import Step
from tests.chaos.shapes import Shape
from tests.chaos.stage import Stage
from tests.support.waiting import eventually

RECOVERED_S = 120.0
_SETTLED_S = 120.0
_STOPS = 3
_CLAIMED_S = 10.0  # several times the idle time after which others claim


class Struck(Struct, frozen=True):
    """What became of one step."""

    step: Step
    began_ns: int
    healed_ns: int
    served_again_s: float = 0.0
    arrived_s: float = 0.0
    failure: str = ""


class Act(Struct, frozen=True, kw_only=True):
    shape: Shape
    steps: tuple[Step, ...]
    seed: int
    per_second: float = 120.0
    connections: int = 8
    calm_s: float = 0.0
    """Of load without a fault, after each step."""


class Ended(Struct, frozen=True):
    act: Act
    struck: tuple[Struck, ...]
    verdict: Verdict | None
    took_s: float
    failure: str = ""

    @property
    def failures(self) -> list[str]:
        told = [f"{struck.step}: {struck.failure}" for struck in self.struck if struck.failure]
        return [*told, *([self.failure] if self.failure else []), *(self.verdict.problems if self.verdict else ())]

    @property
    def is_good(self) -> bool:
        return not self.failures and self.verdict is not None


def play(act: Act, folder: Path, tell: Callable[[Struck], None] = lambda struck: None) -> Ended:
    """Runs an act in a folder of its own. Never raises for what the system under test does wrong."""
    began = time.monotonic()
    struck: list[Struck] = []
    verdict, failure = None, ""
    try:
        with Stage(act.shape, folder, seed=act.seed, per_second=act.per_second, connections=act.connections) as stage:
            stage.start_load()
            for step in act.steps:
                struck.append(strike(stage, step))
                tell(struck[-1])
                time.sleep(step.pause_s + act.calm_s)
            _settle(stage)
            verdict = judge(stage, act)
    except Exception:
        failure = _reason()
    return Ended(act, tuple(struck), verdict, time.monotonic() - began, failure)


def strike(stage: Stage, step: Step) -> Struck:
    dice = Random(step.seed)
    began_ns = time.time_ns()
    failure = ""
    try:
        with ExitStack() as faults:
            for name in step.kinds:
                faults.enter_context(KINDS[name].act(stage, dice))
            stage.hold(step.lasts_s)
    except Exception:
        failure = _reason()
    healed_ns, healed = time.time_ns(), time.monotonic()
    try:
        eventually(lambda: stage.call() == 200, within_s=RECOVERED_S)
        served_again_s = time.monotonic() - healed
        _wait_for_arrivals(stage)
    except AssertionError:
        return Struck(step, began_ns, healed_ns, failure=failure or _reason())
    return Struck(step, began_ns, healed_ns, served_again_s, time.monotonic() - healed, failure)


def judge(stage: Stage, act: Act) -> Verdict:
    database = stage.database_url or stage.disks.databases / "records.db"
    may_drop = any(KINDS[name].may_drop for step in act.steps for name in step.kinds)
    return check(stage.folder, ledger=_ledger(stage), database=database, may_drop=may_drop)


def _ledger(stage: Stage) -> Ledger:
    if stage.redis is None:
        return read_embedded(stage.disks.data)
    client, key = stage.redis.primary.client(), stage.settings.redis_stream_key
    return read_redis(stage.disks.data, client, key, forgets=stage.shape.forgets)


def _wait_for_arrivals(stage: Stage) -> None:
    wanted = stage.outstanding.until_now()
    deadline = time.monotonic() + RECOVERED_S
    while missing := stage.outstanding.still_missing(wanted):
        if missing <= stage.admitted():
            return
        assert time.monotonic() < deadline, f"{missing} events have not arrived after {RECOVERED_S} s"
        time.sleep(0.05)


def _settle(stage: Stage) -> None:
    """No more load, everything delivered, everything stopped; nothing may be left in a spool."""
    assert stage.load.stop() == 0, (stage.folder / "load.log").read_text()[-2000:]
    deadline = time.monotonic() + _SETTLED_S
    while any(missing > stage.admitted() for missing in stage.outstanding.look().values()):
        assert time.monotonic() < deadline, f"still missing: {stage.outstanding.look()}"
        time.sleep(0.05)
    for _ in range(_STOPS):
        _wait_for_acknowledgements(stage)
        assert stage.running.stop() == 0, "the server did not stop in time"
        if not list(_ledger(stage).problems()):
            return
        stage.start_server()  # what it left behind is the next one's
    stage.running.stop()


def _wait_for_acknowledgements(stage: Stage) -> None:
    """What a dead dispatcher held is claimed when its leases have run out. What stays open, the ledger tells."""
    with suppress(AssertionError):
        eventually(
            lambda: not any(group.pending or group.lag for group in stage.looked().bus.groups),
            within_s=_CLAIMED_S,
            every_s=0.1,
        )


def _reason() -> str:
    lines = traceback.format_exc().strip().split("\n")
    where = [line.strip() for line in lines if line.strip().startswith("File ") and "tests/chaos/" in line]
    return f"{lines[-1]} ({where[-1].split(', ', 1)[1] if where else ''})"
