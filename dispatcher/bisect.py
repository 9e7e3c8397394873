"""Finding the events that a backend refuses within a batch that it refuses as a whole.

k bad events among n cost at most 2k*log2(n) + 1 deliveries.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from dispatcher.backends.base import Outcome, Permanent

Item = TypeVar("Item")


async def deliver_bisected(
    deliver: Callable[[Sequence[Item]], Awaitable[list[Outcome]]], batch: Sequence[Item]
) -> list[Outcome]:
    """Permanent is believed of a single event, when it is sure, or where the backend took others of the same batch."""
    outcomes = await deliver(batch)
    if len(batch) == 1 or not all(isinstance(o, Permanent) and not o.is_sure for o in outcomes):
        return outcomes
    middle = len(batch) // 2
    left = await deliver_bisected(deliver, batch[:middle])
    return left + await deliver_bisected(deliver, batch[middle:])
