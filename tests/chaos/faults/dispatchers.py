"""Dispatchers as processes of their own, which they are with Redis; and an event that kills whoever delivers it."""

import os
import signal
from collections.abc import Iterator
from random import Random

from tests.chaos.fault import kind
from tests.chaos.processes import Process, freeze, kill
from tests.chaos.sink import FATAL, FATAL_LOG
from tests.chaos.stage import Stage
from tests.support.llm_proxy import COMMAND, is_alive
from tests.support.waiting import eventually

_REDIS = "redis"
_BACK_S = 60.0
_MIN_IDLE_S = 1.5  # as in shapes.TWENTIETH


@kind(_REDIS)
def kill_dispatcher(stage: Stage, dice: Random) -> Iterator[None]:
    """Another one with another name takes over what it held."""
    victim = stage.pid("dispatcher")
    kill(victim)
    yield
    eventually(lambda: victim not in stage.pids("dispatcher"), within_s=_BACK_S)


@kind(_REDIS)
def terminate_dispatcher(stage: Stage, dice: Random) -> Iterator[None]:
    victim = stage.pid("dispatcher")
    os.kill(victim, signal.SIGTERM)
    yield
    eventually(lambda: not is_alive(victim) and stage.pid("dispatcher"), within_s=_BACK_S)


@kind(_REDIS, lasts_s=(0.5, 1.0))
def freeze_dispatcher(stage: Stage, dice: Random) -> Iterator[None]:
    """Beyond its leases, while another one is there to claim them; then both go on."""
    victim = stage.pid("dispatcher")
    other = _another_dispatcher(stage)
    try:
        freeze([victim], is_frozen=True)
        stage.hold(2 * _MIN_IDLE_S)
        yield
    finally:
        freeze([victim], is_frozen=False)
    assert other.stop() == 0


@kind(_REDIS)
def kill_one_of_two_dispatchers(stage: Stage, dice: Random) -> Iterator[None]:
    other = _another_dispatcher(stage)
    yield
    other.kill()


@kind("embedded", "postgres", _REDIS, lasts_s=(0.1, 0.3), alone=True)
def event_that_kills_its_dispatcher(stage: Stage, dice: Random) -> Iterator[None]:
    """Whoever delivers it dies, until it lies in the dead letters as a crash loop; all others are delivered.

    Without load meanwhile: an event of another backend that is in hand at each of six deaths would be suspected, too.
    """
    name = stage.deliverer
    freeze([stage.load.pid], is_frozen=True)
    eventually(lambda: max(stage.outstanding.look().values()) <= stage.admitted())
    tried = stage.lines_of(FATAL_LOG)
    stage.poison("webhook", said=FATAL)
    deaths = 0
    while deaths < 6:
        eventually(lambda: tried.lines(), within_s=_BACK_S, every_s=0.005)
        for pid in stage.server.pids(name):
            kill(pid)
        deaths += 1
    freeze([stage.load.pid], is_frozen=False)
    yield
    eventually(lambda: stage.pid(name), within_s=_BACK_S)


def _another_dispatcher(stage: Stage) -> Process:
    """Without `file`, which has one writer."""
    argv = [COMMAND, "dispatcher", "--backends", "database,webhook"]
    other = Process(argv, log=stage.folder / "dispatcher2.log", environ=stage.environ(FILE_EVENT_LOG=""))
    stage.also_kill(other)
    stage.hold(0.5)
    return other
