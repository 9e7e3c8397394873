"""The rounds: in each, every contender has its turn at the same case, within seconds of the others.

A machine is never quiet, so what is compared lies close together in time, ratios are taken within a round, and medians
over the rounds are told. A contender that fails in a case is out of it, with the reason.
"""

import contextlib
import time
from collections.abc import Iterable

from tests.bench.cases import AGAIN, JSON, Case, Plan
from tests.bench.contenders import Cannot, Contender, awake
from tests.bench.memory import cpu_of_family
from tests.bench.outcome import Outcome, Turn
from tests.bench.stand import LoadFailed, do

_WARM_UP_S = 0.3
_IDLE = 0.1
"""Of a core: below it, nothing is left to deliver."""


def warm_up(contenders: Iterable[Contender]) -> None:
    """Those that compile what runs often are to have done so."""
    for contender in contenders:
        if contender.warm_up_s:
            with contextlib.suppress(LoadFailed):
                one_turn(JSON, contender, contender.warm_up_s)


def compare(plan: Plan, case: Case, contenders: Iterable[Contender], *, until_idle: bool = False) -> Outcome:
    outcome = Outcome(case, {}, {})
    left = [c for c in contenders if _is_ready(case, c, outcome)]
    for _ in range(plan.rounds):
        for contender in list(left):
            try:
                turn = one_turn(case, contender, plan.seconds, until_idle=until_idle)
                outcome.turns.setdefault(contender.name, []).append(turn)
            except LoadFailed as error:
                left.remove(contender)
                outcome.turns.pop(contender.name, None)
                outcome.cannot[contender.name] = str(error)
    return outcome


def _is_ready(case: Case, contender: Contender, outcome: Outcome) -> bool:
    """Warms it up: connections are open then, and what is loaded at first use is there."""
    if contender.name == AGAIN and not case.has_pair:
        return False
    try:
        one_turn(case, contender, _WARM_UP_S)
    except (Cannot, LoadFailed) as reason:
        outcome.cannot[contender.name] = str(reason)
        return False
    return True


def one_turn(case: Case, contender: Contender, seconds: float, *, until_idle: bool = False) -> Turn:
    """With `until_idle`, processor time includes what follows on the load: moving and delivering the events."""
    job = contender.job(case, seconds)
    with awake(contender):
        before, began = cpu_of_family(contender.pid), time.monotonic()
        told = do(job)
        cpu_s = cpu_of_family(contender.pid) - before
        took_s = min(told.seconds, time.monotonic() - began)
        busy = cpu_s / took_s
        if until_idle:
            _wait_until_idle(contender.pid)
            cpu_s = cpu_of_family(contender.pid) - before
    if not told.count:
        raise LoadFailed("no answer in time")
    expected = job.concurrency * job.events if case.kind == "streams" else 0
    return Turn(
        rate=told.count / told.seconds,
        p50_us=told.p50_us,
        p99_us=told.p99_us,
        cpu_us=cpu_s / told.count * 1e6,
        busy=min(busy, 1.0),
        lost=max(0, expected - told.count),
    )


def _wait_until_idle(pid: int, *, at_most_s: float = 30, look_s: float = 0.3) -> None:
    deadline = time.monotonic() + at_most_s
    while time.monotonic() < deadline:
        before = cpu_of_family(pid)
        time.sleep(look_s)
        if cpu_of_family(pid) - before < _IDLE * look_s:
            return
