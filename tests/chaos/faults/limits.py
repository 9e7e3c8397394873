"""Whoever counts the limits stands still or dies in the middle of it: never more than a limit passes, nothing leaks.

Every call of a round is limited, by far more than it reaches; only the calls made here meet a limit.
"""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

from tests.chaos.fault import kind
from tests.chaos.processes import freeze, kill
from tests.chaos.stage import EXACTLY, SEATS, Stage
from tests.support.waiting import eventually


@contextmanager
def _never_above(stage: Stage) -> Iterator[None]:
    """Calls of one user, before and while whoever counts is broken, and after; what timed out is given back."""
    user = uuid.uuid4().hex
    with ThreadPoolExecutor(2 * EXACTLY) as pool:
        asked = [pool.submit(stage.call_limited, user=user) for _ in range(2 * EXACTLY)]
        yield
        passed = sum(call.result() == 200 for call in asked)
    assert passed <= EXACTLY, f"{passed} calls passed at a limit of {EXACTLY}"

    def ask() -> int:
        nonlocal passed
        status = stage.call_limited(user=user)
        passed += status == 200
        return status

    eventually(lambda: passed >= EXACTLY or (ask() and passed >= EXACTLY), every_s=0.1)
    eventually(lambda: ask() == 429, every_s=0.1)  # not 503: it is counted again
    assert passed == EXACTLY, f"{passed} calls passed at a limit of {EXACTLY}"


@kind("redis", alone=True)
def freeze_redis_mid_reservation(stage: Stage, dice: Random) -> Iterator[None]:
    assert stage.redis
    server = stage.redis.primary
    with _never_above(stage):
        try:
            server.freeze(is_frozen=True)
            yield
        finally:
            server.freeze(is_frozen=False)


@kind("embedded", "postgres", alone=True)
def freeze_owner_mid_reservation(stage: Stage, dice: Random) -> Iterator[None]:
    owner = stage.pid("limits")
    with _never_above(stage):
        try:
            freeze([owner], is_frozen=True)
            yield
        finally:
            freeze([owner], is_frozen=False)


@kind("embedded", "postgres", alone=True)
def kill_owner_mid_reservation(stage: Stage, dice: Random) -> Iterator[None]:
    with _never_above(stage):
        kill(stage.pid("limits"))
        yield


@kind("embedded", "redis", alone=True)
def kill_workers_that_hold_seats(stage: Stage, dice: Random) -> Iterator[None]:
    """Their seats are free after the hold, and no more than all seats are given away."""
    eventually(lambda: stage.call_seated() == 200)
    streams = [stage.open_seated() for _ in range(SEATS)]
    assert stage.call_seated() != 200
    for worker in stage.workers():
        kill(worker)
    yield
    for stream in streams:
        stream.close()
    eventually(lambda: stage.call_seated() == 200)
    streams = [stage.open_seated() for _ in range(SEATS)]
    assert stage.call_seated() != 200
    for stream in streams:
        stream.close()
