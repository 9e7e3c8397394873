"""One HTTP/1.1 connection to an upstream: writes a request, waits for its answer, and may serve the next one.

at rest ──ask()──► head() ──► read() ... read() == b"" ──► is_reusable? rest() : abort()
"""

import asyncio
import socket
from typing import Final, cast

from app.errors import UpstreamTimeout
from app.upstreams.http1_answer import Answer
from app.upstreams.upstream import Headers

_LOOK_ONLY: Final = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_READ_AHEAD_BYTES: Final = 256 * 1024  # then the upstream waits until the client has taken some


class Http1Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        """What is being waited for or read; None at rest."""
        self._news: asyncio.Future[None] | None = None
        """Done when the answer has got further."""
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = 0.0
        self._patience_s: float | None = None
        self._too_late = ""
        self._writable: asyncio.Future[None] | None = None
        self._is_paused = False
        self._is_closed = False
        self.socket: socket.socket | None = None
        """Set by who dialled, to be looked at between two exchanges."""
        self.idle_since = 0.0
        self.has_served = False

    # What its owner does

    def ask(self, method: str, data: bytes) -> None:
        """Sends a request's head, and its body as far as it is at hand."""
        self._answer, self._patience_s = Answer(method), None
        if self._is_closed:
            self._answer.end(None)
        self.write(data)

    def write(self, data: bytes) -> None:
        if self._patience_s is not None:
            self._expires_at = self._loop.time() + self._patience_s
        if not self._is_closed:
            cast(asyncio.Transport, self._transport).write(data)

    async def drained(self) -> None:
        """Returns when the upstream takes more; raises ConnectionError when it never will."""
        if self._writable is not None and not self._is_closed:
            await asyncio.shield(self._writable)
        if self._is_closed:
            raise ConnectionResetError

    async def head(self, timeout_s: float | None) -> tuple[int, Headers]:
        """The final status and headers. Raises ClosedUnanswered, UpstreamCut, UpstreamTimeout.

        The time is taken from the last piece of the request that went out: a long upload is no slow answer.
        """
        answer = cast(Answer, self._answer)
        while not answer.has_head:
            if answer.error is not None:
                raise answer.error
            await self._wait(timeout_s, "The upstream did not begin to answer in time; try again.")
        return answer.status, answer.headers

    async def read(self, timeout_s: float | None) -> bytes:
        """What has come since; b"" at the true end. Raises UpstreamCut, UpstreamTimeout."""
        answer = cast(Answer, self._answer)
        while not answer.pieces:
            if answer.is_complete:
                return b""
            if answer.error is not None:
                raise answer.error
            await self._wait(timeout_s, "The upstream fell silent in the middle of its answer.")
        data = answer.taken()
        if self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
        return data

    @property
    def is_reusable(self) -> bool:
        answer = self._answer
        return answer is not None and answer.is_complete and answer.may_stay_open and not self._is_closed

    @property
    def is_quiet(self) -> bool:
        """At rest and open: neither an end nor anything unasked waits to be read, which the loop may not know yet."""
        if self._is_closed or self.socket is None:
            return False
        try:
            self.socket.recv(1, _LOOK_ONLY)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def rest(self) -> None:
        """Between two requests: what comes now has not been asked for, and ends the connection."""
        self._answer = None
        self.has_served = True
        self.idle_since = self._loop.time()

    def abort(self) -> None:
        if self._answer is not None:
            self._answer.may_stay_open = False
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self, timeout_s: float | None, too_late: str) -> None:
        self._news = self._loop.create_future()
        self._patience_s, self._too_late = timeout_s, too_late
        if timeout_s is not None:
            self._expires_at = self._loop.time() + timeout_s
            if self._timer is None or self._timer.when() > self._expires_at:
                self._arm()
        await self._news

    def _arm(self) -> None:
        """One timer for many waits: it looks at the time when it fires, which is once in a time-out at most."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._expires_at, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._news is None or self._news.done() or self._patience_s is None:
            return
        if self._loop.time() < self._expires_at:
            self._arm()
        else:
            self._news.set_exception(UpstreamTimeout(self._too_late))

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.is_complete:
            self.abort()
            return
        answer.feed(data)
        if answer.error is not None:
            self.abort()
        elif answer.held > _READ_AHEAD_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        if answer.has_head or answer.error is not None:
            self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_closed = True
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self._answer is not None:
            self._answer.end(error)
        if self._timer is not None:
            self._timer.cancel()
        self._tell()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
