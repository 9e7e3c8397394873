"""One HTTP/1.1 connection to an upstream: writes a request, reads its answer, and knows whether it may serve another.

Parsing is llhttp's (httptools), which is strict: obs-fold, a bare LF, double or conflicting lengths and bad chunks are
errors. What it lets through and we do not: another transfer coding than `chunked`, 101, heads beyond the bounds.

    idle ──ask()──► head() ──► read() ... read() == b"" ──► is_reusable? idle : abort()
"""

import asyncio
import socket
from collections import deque
from typing import Final, cast

import httptools

from app.errors import UpstreamCut, UpstreamTimeout
from app.upstreams.upstream import Headers

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 256
_MAX_INTERIM: Final = 32  # 1xx answers before the real one
_READ_AHEAD_BYTES: Final = 256 * 1024  # then the upstream waits until the client has taken some
_BODILESS: Final = (204, 304)


class ClosedUnanswered(Exception):
    """The connection closed before a byte of the answer came: it may have been stale."""


class Http1Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._is_closed = False
        self._writable: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.socket: socket.socket | None = None
        """Set by who dialled, to be looked at between two exchanges."""
        self.idle_since = 0.0
        self.has_served = False
        self._begin("")

    def _begin(self, method: str) -> None:
        self._method = method
        self._head: asyncio.Future[None] | None = None
        self._more: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._is_paused = False
        self._is_asked = False
        self._has_head = False
        self._is_complete = False
        self._is_delimited = False
        self._may_stay_open = False
        self._head_bytes = 0
        self._interim = 0
        self._error: Exception | None = None
        self.progress_at = 0.0
        """When a piece of the request went out: a long upload is no slow answer."""
        self.status = 0
        self.headers: Headers = []

    # What its owner does

    def ask(self, method: str, data: bytes) -> None:
        """Sends a request's head, and its body as far as it is at hand."""
        self._begin(method)
        self._is_asked = True
        self.write(data)

    def write(self, data: bytes) -> None:
        self.progress_at = self._loop.time()
        if not self._is_closed:
            cast(asyncio.Transport, self._transport).write(data)

    async def drained(self) -> None:
        """Returns when the upstream takes more; raises ConnectionError when it never will."""
        if self._writable is not None and not self._is_closed:
            await asyncio.shield(self._writable)
        if self._is_closed:
            raise ConnectionResetError

    async def head(self, timeout_s: float | None) -> None:
        """Waits for the final status and headers. Raises ClosedUnanswered, UpstreamCut, UpstreamTimeout."""
        if not self._has_head and self._error is None:
            self._head = self._loop.create_future()
            await self._wait(self._head, timeout_s, "The upstream did not begin to answer in time; try again.")
        if self._error is not None and not self._has_head:
            raise self._error

    async def read(self, timeout_s: float | None) -> bytes:
        """What has come since; b"" at the true end. Raises UpstreamCut, UpstreamTimeout."""
        while True:
            if self._pieces:
                return self._taken()
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error
            self._more = self._loop.create_future()
            await self._wait(self._more, timeout_s, "The upstream fell silent in the middle of its answer.")

    @property
    def is_reusable(self) -> bool:
        return self._is_complete and self._may_stay_open and not self._is_closed

    @property
    def is_quiet(self) -> bool:
        """At rest and open: neither an end nor anything unasked waits to be read, which the loop may not know yet."""
        if self._is_closed or self.socket is None:
            return False
        try:
            self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def rest(self) -> None:
        """Between two requests: what comes now has not been asked for, and ends the connection."""
        self._begin("")
        self.has_served = True
        self.idle_since = self._loop.time()

    def abort(self) -> None:
        self._may_stay_open = False
        if self._transport is not None:
            self._transport.abort()

    def _taken(self) -> bytes:
        data = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def _wait(self, news: "asyncio.Future[None]", timeout_s: float | None, too_late: str) -> None:
        if timeout_s is None:
            await news
            return
        self._timer = self._loop.call_later(timeout_s, self._expire, news, timeout_s, too_late)
        try:
            await news
        finally:
            self._timer.cancel()

    def _expire(self, news: "asyncio.Future[None]", timeout_s: float, too_late: str) -> None:
        left = self.progress_at + timeout_s - self._loop.time() if news is self._head else 0.0
        if left > 0:
            self._timer = self._loop.call_later(left, self._expire, news, timeout_s, too_late)
        elif not news.done():
            news.set_exception(UpstreamTimeout(too_late))

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_asked or self._is_complete:
            self._may_stay_open = False
            self.abort()
            return
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broken(UpstreamCut("The upstream answered with something that is not valid HTTP."))
        if not self._has_head and self._head_bytes > _MAX_HEAD_BYTES:
            self._broken(UpstreamCut("The upstream's response head is too large."))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._is_closed = True
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self._has_head and not self._is_complete and not self._is_delimited and error is None:
            self._completed()  # a body without a length ends with the connection
        elif self._is_asked and not self._is_complete:
            self._broken(self._cut())
        self._parser = None  # it holds us, and we hold it

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._is_complete:  # more than one answer to one request
            self._may_stay_open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        self.headers.append((name.lower(), value))
        if len(self.headers) > _MAX_HEADERS:
            self._broken(UpstreamCut("The upstream's response head has too many fields."))

    def on_headers_complete(self) -> None:
        parser = cast(httptools.HttpResponseParser, self._parser)
        status = parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > _MAX_INTERIM:
                self._broken(UpstreamCut("The upstream answered with something that is not valid HTTP."))
            self.headers.clear()
            return
        if self._is_complete or self._error is not None:
            return
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            self._broken(UpstreamCut("The upstream answered in a transfer coding that is not supported."))
            return
        self._is_delimited = bool(codings) or any(name == b"content-length" for name, _ in self.headers)
        self.status, self._has_head = status, True
        self._may_stay_open = parser.should_keep_alive()
        if self._method == "HEAD" or status in _BODILESS:
            self._completed()
            self._parser = None  # it would wait for the body that a HEAD's Content-Length tells of
        _tell(self._head)

    def on_body(self, data: bytes) -> None:
        if self._is_complete or self._error is not None:
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _READ_AHEAD_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        _tell(self._more)

    def on_message_complete(self) -> None:
        if self._has_head and not self._is_complete and self._error is None:
            self._completed()

    def _completed(self) -> None:
        self._is_complete = True
        _tell(self._head)
        _tell(self._more)

    def _broken(self, error: Exception) -> None:
        if self._error is None and not self._is_complete:
            self._error = error
        self._may_stay_open = False
        _tell(self._head)
        _tell(self._more)
        self.abort()

    def _cut(self) -> Exception:
        if self._has_head:
            return UpstreamCut("The upstream closed the connection in the middle of its answer.")
        if self._head_bytes:
            return UpstreamCut("The upstream closed the connection in the middle of its head.")
        return ClosedUnanswered()


def _tell(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
