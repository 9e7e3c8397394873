"""What tells a process that there are changes to read, so that it need not wait for its next look.

Nothing depends on a signal's arrival: who misses one looks by himself a moment later. PostgreSQL tells of each commit
(`postgres_signals.py`); SQLite has nobody who could, so its readers look more often.
"""

import asyncio


class Bell:
    """Rung when changes may be there."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self.is_connected = False
        """Whether somebody would ring it."""

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, at_most_s: float) -> None:
        """Until it is rung, or was since the last wait, or the time is over."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._rung.wait()
        except TimeoutError:
            return
        self._rung.clear()
