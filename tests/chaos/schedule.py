"""What is broken when: made of a seed alone, so that a seed printed by a failing run gives the same schedule again."""

from collections.abc import Callable, Sequence
from random import Random

from msgspec import Struct

from tests.chaos.fault import Kind

_COMBINED = 0.15  # of the steps: two or three faults at once


class Step(Struct, frozen=True):
    kinds: tuple[str, ...]
    seed: int
    """Of the step's own dice, so that it does the same in a shorter schedule."""
    lasts_s: float
    pause_s: float

    def __str__(self) -> str:
        return f"{' + '.join(self.kinds)} for {self.lasts_s:.1f} s (seed {self.seed})"


def once_each(kinds: Sequence[Kind], seed: int, *, share_of_duration: float = 0.3) -> list[Step]:
    """Every kind once, in an order of the seed's; `share_of_duration` shortens all."""
    dice = Random(seed)
    order = dice.sample(list(kinds), len(kinds))
    return [_step([kind], dice, share_of_duration, longest_pause_s=0.2) for kind in order]


def endless(kinds: Sequence[Kind], seed: int) -> Callable[[int], list[Step]]:
    """Returns a function that gives the next steps: each kind as often as every other, some of them together."""
    dice = Random(seed)
    waiting: list[Kind] = []

    def more(count: int) -> list[Step]:
        steps = []
        for _ in range(count):
            chosen = [_next(waiting, kinds, dice)]
            while not chosen[0].is_alone and len(chosen) < 3 and dice.random() < _COMBINED:
                other = _next(waiting, kinds, dice)
                if other.is_alone or other in chosen:
                    waiting.append(other)
                    break
                chosen.append(other)
            steps.append(_step(chosen, dice, 1.0, longest_pause_s=1.0))
        return steps

    return more


def _next(waiting: list[Kind], kinds: Sequence[Kind], dice: Random) -> Kind:
    if not waiting:
        waiting.extend(dice.sample(list(kinds), len(kinds)))
    return waiting.pop(0)


def _step(chosen: Sequence[Kind], dice: Random, share: float, *, longest_pause_s: float) -> Step:
    low = min(kind.lasts_s[0] for kind in chosen)
    high = max(kind.lasts_s[1] for kind in chosen)
    return Step(
        kinds=tuple(kind.name for kind in chosen),
        seed=dice.randrange(10**9),
        lasts_s=round(dice.uniform(low, high) * share, 2),
        pause_s=round(dice.uniform(0, longest_pause_s), 2),
    )
