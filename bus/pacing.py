"""When the relay takes its next turn: at once while it is behind, at a poke when it has kept up, later and later while
the bus is away.

What comes close together goes together: once it has kept up, it lets `linger_ms` of events gather. Each batch costs a
few transactions and wakes everybody behind the bus, so two events at a time cost four times as much each as fifty do.
"""

import asyncio
import random
from enum import IntEnum

from bus.wake import WakeListener


class Progress(IntEnum):
    """What a turn came to."""

    NONE = 0
    """Nothing new was there, or nothing could be done."""
    CAUGHT_UP = 1
    BEHIND = 2
    """There is likely more."""


class Pacing:
    def __init__(
        self, *, poll_ms: int, linger_ms: int, backoff_ms: int, backoff_max_ms: int, wake: WakeListener | None
    ) -> None:
        self.poll_s = poll_ms / 1000
        self._linger_s = linger_ms / 1000
        self._backoff_s, self._backoff_max_s = backoff_ms / 1000, backoff_max_ms / 1000
        self._wake = wake
        self.pause_s = 0.0
        """Before the bus is asked again; 0 while it answers."""

    def bus_is_away(self) -> None:
        """Decorrelated jitter: the next pause lies anywhere up to three times the last."""
        longest = 3 * max(self.pause_s, self._backoff_s)
        self.pause_s = min(self._backoff_max_s, random.uniform(self._backoff_s, longest))

    def bus_is_back(self) -> None:
        self.pause_s = 0.0

    async def rest(self, progress: Progress) -> None:
        """Until the next turn."""
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        elif progress is not Progress.BEHIND:
            if progress is Progress.NONE:
                await self._wait()
            await asyncio.sleep(self._linger_s)

    async def _wait(self) -> None:
        if self._wake:
            await self._wake.wait(self.poll_s)
        else:
            await asyncio.sleep(self.poll_s)
