"""What a kind of fault is: a context manager. Entering it breaks something, leaving it heals.

The body is how long it lasts. After the healing it asserts what is special to it; that nothing is lost and the ledger
closes is checked for all of them alike, by `nemesis` and `checker`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random

from msgspec import Struct

from tests.chaos.stage import Stage

Act = Callable[[Stage, Random], AbstractContextManager[None]]

EVERYWHERE = ("embedded", "small-disks", "postgres", "redis", "forgetful-redis")


class Kind(Struct, frozen=True, kw_only=True):
    name: str
    act: Act
    shapes: tuple[str, ...]
    lasts_s: tuple[float, float]
    is_alone: bool
    """Not to be combined with others: its assertion would not hold."""
    may_drop: bool
    """Events may be lost by it, each of them counted."""


def kind(
    *shapes: str, lasts_s: tuple[float, float] = (0.3, 1.5), alone: bool = False, drops: bool = False
) -> Callable[[Callable[[Stage, Random], Iterator[None]]], Kind]:
    """Makes a kind of a generator function, named as the function."""

    def make(act: Callable[[Stage, Random], Iterator[None]]) -> Kind:
        return Kind(
            name=act.__name__.replace("_", "-"),
            act=contextmanager(act),
            shapes=shapes or EVERYWHERE,
            lasts_s=lasts_s,
            is_alone=alone,
            may_drop=drops,
        )

    return make
