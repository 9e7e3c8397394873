"""An upstream on aiohttp's client: one session per provider, a bounded number of connections, nothing added.

aiohttp is used as a wire, not as a browser: no cookies, no redirects, no decompression, no headers of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from aiohttp import client_reqrep, hdrs
from aiohttp.http_writer import StreamWriter
from multidict import CIMultiDict
from yarl import URL

from app.errors import Overloaded, Refusal, UpstreamCut, UpstreamTimeout, UpstreamUnreachable
from app.upstreams.egress import DIRECT, Egress, tls_context
from app.upstreams.upstream import Headers, UpstreamRequest, UpstreamResponse
from config.providers import Provider, Timeouts

_POOL_WAIT_S: Final = 5.0  # for a free connection; then the client is told to come back
_MAX_HEADER_BYTES: Final = 64 * 1024
_DNS_TTL_S: Final = 30
_NO_AUTO_HEADERS: Final = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)


class _Latin1Writer(StreamWriter):
    """Writes header values as the bytes that the client sent (RFC 9110 section 5.5); aiohttp would write UTF-8."""

    async def write_headers(self, status_line: str, headers: "CIMultiDict[str]") -> None:
        lines = "".join([status_line, "\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items()), "\r\n"])
        self._headers_written = False
        self._headers_buf = lines.encode("latin-1")


# aiohttp has no other way in. It is pinned, only used here, and the test of header bytes tells when this breaks.
client_reqrep.StreamWriter = _Latin1Writer  # type: ignore[attr-defined]


class AiohttpUpstream:
    def __init__(self, provider: Provider, egress: Egress = DIRECT) -> None:
        self._provider = provider
        self._proxy = egress.proxy_to(provider.base_url)
        self._timeouts: Timeouts = provider.timeouts
        self._seats = asyncio.Semaphore(provider.connection.max_connections)
        self._session: aiohttp.ClientSession | None = None

    async def open(self, request: UpstreamRequest, group: asyncio.TaskGroup | None = None) -> UpstreamResponse:
        await self._take_seat()
        try:
            response = await self._send(request)
        except BaseException:
            self._seats.release()
            raise
        return _AiohttpResponse(response, self._seats, _seconds(self._timeouts.idle_ms))

    def stats(self) -> None:
        return None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _take_seat(self) -> None:
        if not self._seats.locked():
            await self._seats.acquire()
            return
        try:
            async with asyncio.timeout(_POOL_WAIT_S):
                await self._seats.acquire()
        except TimeoutError as error:
            raise Overloaded("All connections to this provider are busy; try again soon.") from error

    async def _send(self, request: UpstreamRequest) -> aiohttp.ClientResponse:
        head = asyncio.timeout(_seconds(self._timeouts.response_header_ms))
        body = request.body
        if body is not None and not isinstance(body, bytes):
            body = _progress(body, head, _seconds(self._timeouts.response_header_ms))
        try:
            async with head:
                session = await self._opened()
                return await session.request(
                    request.method,
                    URL(self._provider.base_url + request.target, encoded=True),
                    headers=CIMultiDict((n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers),
                    data=body,
                    allow_redirects=False,
                    skip_auto_headers=_NO_AUTO_HEADERS,
                    **self._through_proxy(),
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamTimeout(f"{self._provider.name} could not be connected to in time; try again.") from error
        except TimeoutError as error:
            raise UpstreamTimeout(f"{self._provider.name} did not begin to answer in time; try again.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Refusal:
        name = self._provider.name
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return UpstreamUnreachable(
                f"The proxy in HTTPS_PROXY opened no way to {name} (status {error.status}); check it, or NO_PROXY."
            )
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
            return UpstreamUnreachable(f"{name} cannot be reached from here; try again, or check its base_url.")
        if isinstance(error, aiohttp.ClientResponseError):
            return UpstreamCut(f"{name} answered with something that is not valid HTTP.")
        return UpstreamCut(f"{name} closed the connection before it answered; try again.")

    def _through_proxy(self) -> dict[str, Any]:
        if self._proxy is None:
            return {}
        known = self._proxy.authorization
        headers = {"proxy-authorization": known.reveal()} if known else None
        return {
            "proxy": URL.build(scheme="http", host=self._proxy.host, port=self._proxy.port),
            "proxy_headers": headers,
        }

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            is_tls = self._provider.base_url.startswith("https:")
            tls = await asyncio.to_thread(tls_context, self._provider.connection) if is_tls else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=tls,
                    limit=0,  # the seats bound it, with a wait that ends
                    ttl_dns_cache=_DNS_TTL_S,
                    keepalive_timeout=self._provider.connection.keepalive_ms / 1000,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_seconds(self._timeouts.connect_ms)),
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
            )
        return self._session


class _AiohttpResponse:
    def __init__(self, response: aiohttp.ClientResponse, seats: asyncio.Semaphore, idle_s: float | None) -> None:
        self._response = response
        self._seats: asyncio.Semaphore | None = seats
        self._idle_s = idle_s
        self.status = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]

    async def read(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_s):
                return await self._response.content.readany()
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream fell silent in the middle of its answer.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamCut("The upstream closed the connection in the middle of its answer.") from error

    async def close(self) -> None:
        if self._seats is not None:
            self._seats.release()
            self._seats = None
            self._response.close()  # a connection whose response was read to its end has been given back already


async def _progress(pieces: AsyncIterator[bytes], head: asyncio.Timeout, head_s: float | None) -> AsyncIterator[bytes]:
    """The body, each piece of which gives the head its whole time again: a long upload is no slow answer."""
    async for piece in pieces:
        yield piece
        if head_s is not None and not head.expired():
            head.reschedule(asyncio.get_running_loop().time() + head_s)


def _seconds(ms: int) -> float | None:
    return ms / 1000 if ms else None
