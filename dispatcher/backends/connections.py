"""The connections of one endpoint. A pool in which a call was cut off is used no more: it may have lost a connection.

httpcore gives a connection back in several steps. When a cancellation comes between them (ours meets httpx's own
time-out, or the end of the delivery's time meets ours on a busy machine) the pool counts that connection as in use for
good, and with the last one every later call waits in vain until the process ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx


class Connections:
    def __init__(self, new: Callable[[], httpx.AsyncClient]) -> None:
        self._new = new
        self._client: httpx.AsyncClient | None = None
        self._calls: dict[httpx.AsyncClient, int] = {}
        """How many are under way in each pool that is not closed yet; only the newest is given to more."""

    def open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = self._new()
            self._calls[self._client] = 0
        return self._client

    @asynccontextmanager
    async def one_call(self) -> AsyncIterator[httpx.AsyncClient]:
        await self._close_the_given_up()
        client = self.open()
        self._calls[client] += 1
        try:
            yield client
        except (asyncio.CancelledError, httpx.TimeoutException):
            if self._client is client:
                self._client = None
            raise
        finally:
            if client in self._calls:
                self._calls[client] -= 1

    async def close(self) -> None:
        clients, self._client, self._calls = list(self._calls), None, {}
        for client in clients:
            await client.aclose()

    async def _close_the_given_up(self) -> None:
        """Not where the call was cut off: there the next cancellation may come before all is closed."""
        for client in [one for one, calls in self._calls.items() if one is not self._client and not calls]:
            del self._calls[client]
            await client.aclose()
