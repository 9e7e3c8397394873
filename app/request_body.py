"""The client's body, bounded, and the news that the client has left.

ASGI gives both through one `receive()`. A body of at most BUFFER_BYTES whose length is known is read whole, which is
nearly every call; a longer one is streamed by a task that always has a `receive()` outstanding, so that a client's
leaving is seen even while the upstream takes nothing. Whichever way, `watch()` returns when the client has gone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from app.errors import BodyTooLarge, ClientGone

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BUFFER_BYTES: Final = 1024 * 1024
_QUEUE_PIECES: Final = 4  # Granian's pieces are up to 400 KiB: at most 1.6 MiB of an upload lies here


class RequestBody:
    __slots__ = (
        "_complete",
        "_is_left",
        "_max_bytes",
        "_pieces",
        "_prefix",
        "_receive",
        "keep_bytes",
        "length",
        "size",
        "waited_ns",
    )

    def __init__(self, receive: Receive, *, length: int | None, max_bytes: int, keep_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._pieces: asyncio.Queue[bytes | None] | None = None
        self._prefix = bytearray()
        self._complete = self._is_left = False
        self.keep_bytes = keep_bytes
        """How much of a streamed body is kept for the record."""
        self.length = length
        """From Content-Length; None when the client sends chunks."""
        self.size = 0
        """Bytes that have come so far."""
        self.waited_ns = 0

    @property
    def is_small(self) -> bool:
        return self.length is not None and self.length <= BUFFER_BYTES

    @property
    def seen(self) -> bytes:
        """The whole body when it was read whole, else its first `keep_bytes`."""
        return bytes(self._prefix)

    @property
    def is_seen_whole(self) -> bool:
        return self._complete and self.size == len(self._prefix)

    def check_length(self) -> None:
        """Raises BodyTooLarge before a byte is read, where Content-Length tells."""
        if self.length is not None and self.length > self._max_bytes:
            raise self._too_large()

    async def read_all(self, max_bytes: int) -> bytes:
        """The whole body. Raises BodyTooLarge beyond `max_bytes`, ClientGone."""
        began = time.monotonic_ns()
        while not self._complete:
            self._prefix += await self._next_piece()
            if self.size > max_bytes:
                raise BodyTooLarge(f"The body is larger than {max_bytes} bytes, the most that can be checked here.")
        self.waited_ns += time.monotonic_ns() - began
        return bytes(self._prefix)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece; what `read_all` has taken comes first. `watch()` must be running."""
        if self._complete:
            if self._prefix:
                yield bytes(self._prefix)
            return
        pieces = self._queue()
        while (piece := await pieces.get()) is not None:
            yield piece

    def leave(self) -> None:
        """Nobody wants the rest. Before `watch` is cancelled: a `receive` may let a cancellation end in a piece."""
        self._is_left = True

    def let_go(self) -> None:
        """The exchange is over. Until nobody holds `receive`, the server in front neither reads on nor closes."""
        self._receive = _nothing_more

    async def watch(self) -> None:
        """Feeds `stream`, then waits; until the body is left it returns only by raising ClientGone or BodyTooLarge."""
        if not self._complete:
            await self._feed(self._queue())
        while not self._is_left:
            if (await self._receive())["type"] == "http.disconnect":
                raise ClientGone

    async def _feed(self, pieces: "asyncio.Queue[bytes | None]") -> None:
        while not self._complete:
            piece = await self._next_piece()
            if self._is_left:
                return
            room = self.keep_bytes - len(self._prefix)
            if room > 0:
                self._prefix += piece[:room]
            await pieces.put(piece)
        await pieces.put(None)

    def _queue(self) -> "asyncio.Queue[bytes | None]":
        if self._pieces is None:
            self._pieces = asyncio.Queue(_QUEUE_PIECES)
        return self._pieces

    async def _next_piece(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        self._complete = not message.get("more_body", False)
        self.size += len(piece)
        if self.size > self._max_bytes:
            raise self._too_large()
        return piece

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._max_bytes} bytes; send less.")


async def _nothing_more() -> MutableMapping[str, Any]:
    raise ClientGone
