"""The connections to one upstream: at most `max_connections`, used again while they are warm, waited for in turn.

A seat is the right to have one connection at work. Seats go to waiters in the order in which they came; who waits
longer than WAIT_S, or finds a long queue, is told to come back. The connection that rested last is taken first, so that
those that a burst has left expire.
"""

import asyncio
from collections import deque
from typing import Final

from app.errors import Overloaded
from app.upstreams.dialling import Dialler
from app.upstreams.egress import Egress
from app.upstreams.http1_connection import Http1Connection
from app.upstreams.upstream import UpstreamStats
from config.provider import Provider

_WAIT_S: Final = 5.0
_MAX_WAITING: Final = 4096
_BUSY: Final = "All connections to this provider are busy; try again soon."


class Http1Pool:
    def __init__(self, provider: Provider, egress: Egress) -> None:
        self._dialler = Dialler(provider, egress)
        self._free_seats = provider.connection.max_connections
        self._keepalive_s = provider.connection.keepalive_ms / 1000
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resting: list[Http1Connection] = []
        self._busy: set[Http1Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._dialled = 0

    async def take(self, *, fresh: bool = False) -> Http1Connection:
        """A connection at rest, or a new one. Raises Overloaded, UpstreamTimeout, UpstreamUnreachable."""
        await self._take_seat()
        try:
            connection = (None if fresh else self._rested()) or await self._dial()
        except BaseException:
            self._leave_seat()
            raise
        self._busy.add(connection)
        return connection

    def give_back(self, connection: Http1Connection) -> None:
        """After an exchange; a connection that cannot serve another is closed. Idempotent."""
        if connection not in self._busy:
            return
        self._busy.discard(connection)
        if connection.is_reusable and self._keepalive_s:
            connection.rest()
            self._resting.append(connection)
            self._sweep_later()
        else:
            connection.abort()
        self._leave_seat()

    def stats(self) -> UpstreamStats:
        return UpstreamStats(len(self._busy), len(self._resting), len(self._waiting), self._dialled)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in [*self._resting, *self._busy]:
            connection.abort()

    async def _dial(self) -> Http1Connection:
        self._dialled += 1
        return await self._dialler.dial()

    def _rested(self) -> Http1Connection | None:
        now = asyncio.get_running_loop().time()
        while self._resting:
            connection = self._resting.pop()
            if connection.is_quiet and now - connection.idle_since < self._keepalive_s:
                return connection
            connection.abort()
        return None

    async def _take_seat(self) -> None:
        if self._free_seats:
            self._free_seats -= 1
            return
        if len(self._waiting) >= _MAX_WAITING:
            raise Overloaded(_BUSY)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(_WAIT_S):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # the seat came at the same moment: it is the next one's
                self._leave_seat()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise Overloaded(_BUSY) from error
            raise

    def _leave_seat(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free_seats += 1

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._keepalive_s, self._sweep)

    def _sweep(self) -> None:
        """Closes those that have rested too long, the oldest first in the list."""
        self._sweeper = None
        now = asyncio.get_running_loop().time()
        while self._resting and now - self._resting[0].idle_since >= self._keepalive_s:
            self._resting.pop(0).abort()
        if self._resting:
            self._sweep_later()
