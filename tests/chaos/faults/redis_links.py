"""The network between our processes and Redis. Alone is what keeps the keeper from telling how things are: other
faults wait for that before they are over."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.chaos.fault import kind
from tests.chaos.stage import Stage
from tests.chaos.toxics import Toxics

_REDIS = "redis"


@contextmanager
def _spoilt(stage: Stage, mode: str) -> Iterator[None]:
    front = _front(stage)
    front.mode = mode
    try:
        yield
    finally:
        front.mode = "pass"


@kind(_REDIS, alone=True)
def cut_off_from_redis(stage: Stage, dice: Random) -> Iterator[None]:
    """Reset, and refused until it is healed."""
    front = _front(stage)
    front.down()
    try:
        yield
    finally:
        front.up()


@kind(_REDIS)
def reset_connections_to_redis(stage: Stage, dice: Random) -> Iterator[None]:
    """Again and again, in the middle of whatever they carry."""
    front = _front(stage)
    with stage.ticking(lambda: front.cut() if dice.random() < 0.3 else None):
        yield


@kind(_REDIS, lasts_s=(0.5, 3.0), alone=True)
def black_hole_before_redis(stage: Stage, dice: Random) -> Iterator[None]:
    with _spoilt(stage, "black-hole"):
        yield


@kind(_REDIS, lasts_s=(6.0, 9.0), alone=True)
def black_hole_for_long(stage: Stage, dice: Random) -> Iterator[None]:
    with _spoilt(stage, "black-hole"):
        yield


@kind(_REDIS, lasts_s=(0.5, 2.0))
def slow_link_to_redis(stage: Stage, dice: Random) -> Iterator[None]:
    with _spoilt(stage, "latency 100 50"):
        yield


@kind(_REDIS, lasts_s=(0.5, 2.0))
def sliced_link_to_redis(stage: Stage, dice: Random) -> Iterator[None]:
    with _spoilt(stage, "slice"):
        yield


@kind(_REDIS, lasts_s=(0.5, 2.0))
def narrow_link_to_redis(stage: Stage, dice: Random) -> Iterator[None]:
    with _spoilt(stage, "bandwidth 64"):
        yield


def _front(stage: Stage) -> Toxics:
    assert stage.redis
    return stage.redis.front
