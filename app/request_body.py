"""The client's body, bounded, and the news that the client has left.

ASGI gives both through one `receive()`. A body of at most BUFFER_BYTES whose length is known is read whole, which is
nearly every call. From `attend` on, a `receive()` is always outstanding, except while QUEUE_PIECES of a longer body lie
here: so a client's leaving is seen even while the upstream says nothing, and cancels the task of its exchange. One
that sends next to nothing is given up (`patience.py`).
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from app.errors import BodyTooLarge, ClientGone, RequestTimeout
from app.patience import Patience

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

BUFFER_BYTES: Final = 1024 * 1024
_QUEUE_PIECES: Final = 4  # Granian's pieces are up to 400 KiB: at most 1.6 MiB of an upload lies here


class RequestBody:
    __slots__ = (
        "_attending",
        "_complete",
        "_max_bytes",
        "_more",
        "_on_leaving",
        "_patience",
        "_pieces",
        "_prefix",
        "_receive",
        "_received",
        "ended_by",
        "is_abandoned",
        "keep_bytes",
        "length",
        "size",
        "waited_ns",
    )

    def __init__(
        self, receive: Receive, patience: Patience, *, length: int | None, max_bytes: int, keep_bytes: int
    ) -> None:
        self._receive = receive
        self._patience = patience
        self._received: asyncio.Future[Message] | None = None
        """The outstanding `receive()`."""
        self._attending: asyncio.Task[Any] | None = None
        self._on_leaving: Callable[[], bool] | None = None
        self._max_bytes = max_bytes
        self._pieces: deque[bytes] = deque()
        self._more: asyncio.Future[None] | None = None
        """Done when there is another piece, or the end."""
        self._prefix: bytes | bytearray = b""  # a body that comes in one piece is never copied
        self._complete = length == 0
        self.ended_by: Exception | None = None
        """Why the attending task, or what it waited for, was cancelled."""
        self.is_abandoned = False
        """The client has left, and its exchange goes on without it."""
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

    @property
    def is_awaited(self) -> bool:
        return self._received is not None and not self._complete

    def check_length(self) -> None:
        """Raises BodyTooLarge before a byte is read, where Content-Length tells."""
        if self.length is not None and self.length > self._max_bytes:
            raise self._too_large()

    async def read_all(self, max_bytes: int) -> bytes:
        """The whole body. Raises BodyTooLarge beyond `max_bytes`, ClientGone, RequestTimeout."""
        began = time.monotonic_ns()
        while not self._complete:
            self._keep(self._piece_of(await self._message()))
            if self.size > max_bytes:
                raise BodyTooLarge(f"The body is larger than {max_bytes} bytes, the most that can be checked here.")
        self.waited_ns += time.monotonic_ns() - began
        return bytes(self._prefix)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece; what `read_all` has taken comes first. Only while it is attended."""
        if self._prefix and not self._pieces and self.is_seen_whole:  # else it has come while it was attended
            yield bytes(self._prefix)
            return
        while True:
            while self._pieces:
                yield self._pieces.popleft()
                self._listen()
            if self._complete:
                return
            self._more = asyncio.get_running_loop().create_future()
            await self._more

    def attend(self, on_leaving: Callable[[], bool] | None = None) -> None:
        """From now on the current task is cancelled when its client leaves or sends too much; `ended_by` says why.

        A client that leaves after its whole body is forgotten instead when `on_leaving` says True.
        """
        self._attending, self._on_leaving = asyncio.current_task(), on_leaving
        self._listen()

    def give_up(self) -> None:
        """Of a client that does not go on with its body."""
        self.ended_by = RequestTimeout("The body came too slowly or not at all; send the request again.")
        if self._attending is not None:
            self._attending.cancel()
        elif self._received is not None:
            self._received.cancel()

    def leave(self) -> None:
        """Nobody wants to know any more."""
        self._attending = self._on_leaving = None
        if self._received is not None:
            self._received.cancel()
            self._received = None

    def let_go(self) -> None:
        """The exchange is over. Until nobody holds `receive`, the server in front neither reads on nor closes."""
        self._patience.forget(self)
        self._receive = _nothing_more
        self.ended_by = None

    async def _message(self) -> Message:
        self._patience.watch(self)
        self._received = asyncio.ensure_future(self._receive())  # a future of Granian's is taken as it is
        try:
            return await self._received
        except asyncio.CancelledError:
            if self.ended_by is None or _is_cancelled():
                raise
            raise self.ended_by from None
        finally:
            self._received = None

    def _listen(self) -> None:
        if not self._complete:
            self._patience.watch(self)
        if self._received is None and self._attending is not None and len(self._pieces) < _QUEUE_PIECES:
            self._received = asyncio.ensure_future(self._receive())
            self._received.add_done_callback(self._hear)

    def _hear(self, received: "asyncio.Future[Message]") -> None:
        """It may come after all when a cancellation has met it half-way."""
        if self._attending is None or received.cancelled():
            return
        self._received = None
        try:
            self._take(received.result())
        except Exception as error:  # raised in the exchange that is cancelled for it
            self.ended_by = error.with_traceback(None)  # frames that hold Granian's future: a ring for ever
            if not self._is_left_alone(error):
                self._attending.cancel()
            return
        self._listen()

    def _is_left_alone(self, error: Exception) -> bool:
        if not isinstance(error, ClientGone) or not self._complete or self._on_leaving is None:
            return False
        self.is_abandoned = self._on_leaving()
        if self.is_abandoned:
            self._receive = _nothing_more  # its connection is closed now, and not when the exchange is over
        return self.is_abandoned

    def _take(self, message: Message) -> None:
        was_complete = self._complete
        piece = self._piece_of(message)
        if was_complete:
            return  # nothing but the news of a leaving can follow
        room = self.keep_bytes - len(self._prefix)
        if room > 0:
            self._keep(piece[:room])
        if piece:
            self._pieces.append(piece)
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def _keep(self, piece: bytes) -> None:
        if not self._prefix:
            self._prefix = piece
            return
        if isinstance(self._prefix, bytes):
            self._prefix = bytearray(self._prefix)
        self._prefix += piece

    def _piece_of(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        self.size += len(piece)
        self._complete |= not message.get("more_body", False) or self.size == self.length
        if self._complete:
            self._patience.forget(self)
        if self.size > self._max_bytes:
            raise self._too_large()
        return piece

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._max_bytes} bytes; send less.")


def _is_cancelled() -> bool:
    """The task itself, and not only what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _nothing_more() -> Message:
    raise ClientGone
