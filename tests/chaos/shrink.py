"""A failing schedule made shorter by running parts of it again; bounded, since every run takes its time."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(steps: Sequence[T], fails: Callable[[Sequence[T]], bool], *, max_runs: int) -> list[T]:
    """The shortest part found that still fails; the whole when nothing shorter does within `max_runs`."""
    best, pieces, runs = list(steps), 2, 0
    while len(best) > 1 and runs < max_runs:
        size = -(-len(best) // pieces)
        for candidate in _candidates(best, size):
            if runs >= max_runs:
                return best
            runs += 1
            if fails(candidate):
                best, pieces = candidate, 2
                break
        else:
            if size == 1:
                return best
            pieces = min(len(best), pieces * 2)
    return best


def _candidates(steps: list[T], size: int) -> list[list[T]]:
    """Each piece alone, the later ones first, then the whole without each piece."""
    starts = range(0, len(steps), size)
    alone = [steps[at : at + size] for at in starts]
    without = [steps[:at] + steps[at + size :] for at in starts] if len(alone) > 2 else []
    return [*reversed(alone), *without]
