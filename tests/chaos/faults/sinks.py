"""The receiver of the webhook is away, slow, or says something else than 200; the other backends must not feel it."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.chaos.fault import kind
from tests.chaos.processes import freeze, kill
from tests.chaos.sink import MODE, POISON
from tests.chaos.stage import Stage
from tests.support.waiting import eventually

_TIMEOUT_MS = 1_000  # as in shapes.TWENTIETH
_LOT_EMPTY_S = 180.0  # under a load that takes all processors, what is parked shrinks slowly


@contextmanager
def _behaving(stage: Stage, how: str) -> Iterator[None]:
    path = stage.folder / MODE
    path.write_text(how)
    try:
        yield
    finally:
        path.write_text("ok")


@kind(lasts_s=(0.5, 3.0), alone=True)
def kill_sink(stage: Stage, dice: Random) -> Iterator[None]:
    """One backend is dead, the others are as quick as ever."""
    stage.sink.kill()
    stage.call_and_find("file", "database")
    yield
    stage.sink.again()


@kind("embedded", "redis", lasts_s=(3.0, 8.0), alone=True)
def sink_is_away_for_long(stage: Stage, dice: Random) -> Iterator[None]:
    """What it is owed is parked on disk, so that the bus does not grow, and comes back when it is there again."""
    stage.sink.kill()
    try:
        yield
        eventually(lambda: stage.parked("webhook") > 0)
    finally:
        stage.sink.again()
    eventually(lambda: stage.parked("webhook") == 0, within_s=_LOT_EMPTY_S)


@kind("embedded", "redis", lasts_s=(1.0, 4.0), alone=True)
def kill_dispatcher_that_has_parked(stage: Stage, dice: Random) -> Iterator[None]:
    """Who comes after it finds what it parked."""
    stage.sink.kill()
    try:
        eventually(lambda: stage.parked("webhook") > 0)
        kill(stage.pid(stage.deliverer))
        yield
    finally:
        stage.sink.again()
    eventually(lambda: stage.parked("webhook") == 0, within_s=_LOT_EMPTY_S)


@kind(lasts_s=(0.5, 2.5))
def freeze_sink(stage: Stage, dice: Random) -> Iterator[None]:
    try:
        freeze([stage.sink.pid], is_frozen=True)
        yield
    finally:
        freeze([stage.sink.pid], is_frozen=False)


@kind(lasts_s=(1.0, 3.0))
def sink_is_slow(stage: Stage, dice: Random) -> Iterator[None]:
    """It takes all, and answers when nobody waits any more."""
    with _behaving(stage, f"slow {int(_TIMEOUT_MS * dice.uniform(0.7, 1.5))}"):
        yield


@kind(lasts_s=(0.5, 2.0))
def sink_answers_500(stage: Stage, dice: Random) -> Iterator[None]:
    with _behaving(stage, "status 500"):
        yield


@kind(lasts_s=(0.5, 2.0))
def sink_answers_429(stage: Stage, dice: Random) -> Iterator[None]:
    with _behaving(stage, "status 429 1"):
        yield


@kind(lasts_s=(0.5, 2.0))
def sink_answers_401(stage: Stage, dice: Random) -> Iterator[None]:
    """The operator has changed the key: no event is to blame."""
    with _behaving(stage, "status 401"):
        yield


@kind(lasts_s=(0.5, 2.0))
def sink_takes_and_loses_the_answer(stage: Stage, dice: Random) -> Iterator[None]:
    with _behaving(stage, "lose"):
        yield


@kind(lasts_s=(0.5, 2.0))
def sink_resets(stage: Stage, dice: Random) -> Iterator[None]:
    with _behaving(stage, "reset"):
        yield


@kind(lasts_s=(0.5, 2.0))
def sink_takes_some(stage: Stage, dice: Random) -> Iterator[None]:
    """207: half of each batch."""
    with _behaving(stage, "some"):
        yield


@kind("embedded", "small-disks", "postgres", "redis", lasts_s=(0.2, 0.5), alone=True)
def poison_for_the_sink(stage: Stage, dice: Random) -> Iterator[None]:
    """Exactly these lie in the webhook's dead letters; a Redis that forgets has forgotten its letters, too."""
    for _ in range(dice.randint(1, 3)):
        stage.poison("webhook", said=POISON)
    yield
