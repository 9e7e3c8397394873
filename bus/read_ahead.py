"""Reads the next batch of a spool on the disk's thread while the bus takes the one before.

What was read ahead counts only as long as the bus's answers lead there: whoever rewinds a tail forgets it first. Its
reading comes before the rewinding all the same, as the thread keeps the order of what it is given.
"""

import asyncio
from collections.abc import Callable

from bus.tail import Batch, Tail

Reading = asyncio.Future[Batch | None]


class ReadAhead:
    def __init__(self, read: Callable[[Tail], Reading]) -> None:
        """`read` gives the tail to the thread before it returns."""
        self._read = read
        self._ahead: dict[bytes, Reading] = {}

    async def next(self, tail: Tail) -> Batch | None:
        """The next batch; None for nothing (yet). Raises OSError and Undecodable."""
        ahead = self._ahead.pop(tail.spool, None)
        if ahead is not None and (batch := await ahead) is not None:
            return batch
        return await self._read(tail)

    def begin(self, tail: Tail) -> None:
        reading = self._read(tail)
        reading.add_done_callback(_heard)
        self._ahead[tail.spool] = reading

    def forget(self, tail: Tail) -> None:
        """Another place in the spool is next, or nobody goes on there."""
        self._ahead.pop(tail.spool, None)


def _heard(reading: Reading) -> None:
    """What was forgotten may have failed: the next reading tells of it."""
    if not reading.cancelled():
        reading.exception()
