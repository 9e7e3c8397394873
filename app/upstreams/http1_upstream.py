"""An upstream on our own HTTP/1.1 client: a connection is taken, asked, read, and given back.

A request is tried a second time, on a new connection, in one case only: the connection had rested, it closed before a
byte of the answer came, and nothing can have happened twice (RFC 9110 section 9.2.2: an idempotent method, and a body
that is still at hand).
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit

from app.errors import UpstreamCut, UpstreamTimeout
from app.upstreams.egress import DIRECT, Egress
from app.upstreams.http1_answer import ClosedUnanswered
from app.upstreams.http1_connection import Http1Connection
from app.upstreams.http1_pool import Http1Pool
from app.upstreams.upstream import Headers, UpstreamRequest, UpstreamStats
from config.provider import Provider

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Http1Upstream:
    def __init__(self, provider: Provider, egress: Egress = DIRECT) -> None:
        parts = urlsplit(provider.base_url)
        self._name = provider.name
        self._path = parts.path
        self._host = parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])
        self._pool = Http1Pool(provider, egress)
        self._head_s = provider.timeouts.response_header_ms / 1000 or None
        self._idle_s = provider.timeouts.idle_ms / 1000 or None

    async def open(self, request: UpstreamRequest, group: asyncio.TaskGroup | None = None) -> "Http1Response":
        connection = await self._pool.take()
        try:
            return await self._ask(connection, request, group)
        except ClosedUnanswered as error:
            if not (connection.has_served and _may_be_repeated(request)):
                raise self._unanswered() from error
        connection = await self._pool.take(fresh=True)
        try:
            return await self._ask(connection, request, group)
        except ClosedUnanswered as error:
            raise self._unanswered() from error

    def stats(self) -> UpstreamStats:
        return self._pool.stats()

    async def close(self) -> None:
        self._pool.close()

    async def _ask(
        self, connection: Http1Connection, request: UpstreamRequest, group: asyncio.TaskGroup | None
    ) -> "Http1Response":
        sending: asyncio.Task[None] | None = None
        try:
            head = _head(request, self._path, self._host)
            if _is_at_hand(request.body):
                connection.ask(request.method, head + request.body if request.body else head)
            else:
                if group is None:
                    raise ValueError("a body in pieces is sent by a task of a group, and none was given")
                connection.ask(request.method, head)
                sending = group.create_task(_send(connection, request), name="send-body")
            status, headers = await connection.head(self._head_s)
        except UpstreamTimeout as error:
            self._drop(connection, sending)
            raise UpstreamTimeout(f"{self._name} did not begin to answer in time; try again.") from error
        except BaseException:
            self._drop(connection, sending)
            raise
        return Http1Response(connection, self._pool, self._idle_s, sending, status, headers)

    def _drop(self, connection: Http1Connection, sending: "asyncio.Task[None] | None") -> None:
        if sending is not None:
            sending.cancel()
        connection.abort()
        self._pool.give_back(connection)

    def _unanswered(self) -> UpstreamCut:
        return UpstreamCut(f"{self._name} closed the connection before it answered; try again.")


class Http1Response:
    __slots__ = ("_connection", "_idle_s", "_pool", "_sending", "headers", "status")

    def __init__(
        self,
        connection: Http1Connection,
        pool: Http1Pool,
        idle_s: float | None,
        sending: "asyncio.Task[None] | None",
        status: int,
        headers: Headers,
    ) -> None:
        self._connection: Http1Connection | None = connection
        self._pool = pool
        self._idle_s = idle_s
        self._sending = sending
        self.status = status
        self.headers = headers

    def read(self) -> Coroutine[Any, Any, bytes]:
        return _nothing() if self._connection is None else self._connection.read(self._idle_s)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()  # the upstream has answered without wanting the rest
            connection.abort()
        self._pool.give_back(connection)


async def _nothing() -> bytes:
    return b""


def _may_be_repeated(request: UpstreamRequest) -> bool:
    return request.method in _IDEMPOTENT and _is_at_hand(request.body)


def _is_at_hand(body: bytes | AsyncIterator[bytes] | None) -> TypeGuard[bytes | None]:
    return body is None or isinstance(body, bytes)


def _head(request: UpstreamRequest, path: str, host: str) -> bytes:
    """The request's head. Raises ValueError for a line break within a line, which the server in front refuses."""
    pieces = [f"{request.method} {path}{request.target} HTTP/1.1\r\nhost: {host}".encode("latin-1")]
    for name, value in request.headers:
        pieces += (b"\r\n", name, b": ", value)
    lines = len(request.headers) + 3
    if _is_chunked(request):
        pieces.append(b"\r\ntransfer-encoding: chunked")
        lines += 1
    pieces.append(b"\r\n\r\n")
    head = b"".join(pieces)
    if not head.count(b"\r") == head.count(b"\n") == lines:
        raise ValueError("a line break within a header")
    return head


def _is_chunked(request: UpstreamRequest) -> bool:
    """A body that comes in pieces and whose length nobody has told."""
    return not _is_at_hand(request.body) and all(name != b"content-length" for name, _ in request.headers)


async def _send(connection: Http1Connection, request: UpstreamRequest) -> None:
    """The body piece by piece, as fast as the upstream takes it."""
    pieces: AsyncIterator[bytes] = request.body  # type: ignore[assignment]  # only called for iterators
    is_chunked = _is_chunked(request)
    try:
        async for piece in pieces:
            if piece:
                connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            await connection.drained()
        if is_chunked:
            connection.write(b"0\r\n\r\n")
    except ConnectionError:
        return  # told by the answer that does not come, or by the early one that does
