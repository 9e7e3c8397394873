"""Finding the events that a backend refuses within a batch that it refuses as a whole.

k bad events among n cost at most 2k*log2(n) + 1 deliveries.
"""

from collections.abc import Awaitable, Callable, Sequence

from dispatcher.backends.base import Delivered, Outcome, Permanent

Deliver = Callable[[Sequence[Delivered]], Awaitable[list[Outcome]]]


async def deliver_bisected(deliver: Deliver, batch: Sequence[Delivered]) -> list[Outcome]:
    """Permanent is believed of a single event, or where the backend took others of the same batch."""
    outcomes = await deliver(batch)
    if len(batch) == 1 or not all(isinstance(outcome, Permanent) for outcome in outcomes):
        return outcomes
    middle = len(batch) // 2
    left = await deliver_bisected(deliver, batch[:middle])
    return left + await deliver_bisected(deliver, batch[middle:])
