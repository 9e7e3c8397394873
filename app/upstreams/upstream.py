"""The way upstream, as the pipeline sees it: open -> status, raw headers, pieces, close.

Whatever HTTP client lies behind it raises only our errors: UpstreamUnreachable, UpstreamTimeout, UpstreamCut,
Overloaded. Nothing is decompressed, no redirect is followed, no header is added but Host and the body's framing.
"""

from asyncio import TaskGroup
from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from config.providers import Provider

Headers = list[tuple[bytes, bytes]]


class UpstreamRequest(Struct, frozen=True):
    method: str
    target: str
    """Path and query, percent-encoded as the client sent them."""
    headers: Headers
    body: bytes | AsyncIterator[bytes] | None
    """None: no body at all. An iterator without Content-Length among the headers goes out chunked."""


class UpstreamResponse(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers:
        """As received: case, order and repetition."""
        ...

    async def read(self) -> bytes:
        """The next bytes as they arrive; b"" at the end. Raises UpstreamCut when the end is not the true one."""
        ...

    async def close(self) -> None:
        """Gives the connection back when the body was read to its end, and closes it otherwise. Idempotent."""
        ...


class UpstreamStats(Struct, frozen=True):
    """The connections to one upstream, now and so far."""

    busy: int
    idle: int
    waiting: int
    """Exchanges that wait for a connection."""
    dialled: int
    """New connections that were tried, ever."""


class Upstream(Protocol):
    async def open(self, request: UpstreamRequest, group: TaskGroup | None = None) -> UpstreamResponse:
        """Sends the request and returns with the response's head.

        A body in pieces may go on being sent, as a task of `group`, until the response is closed.
        """
        ...

    def stats(self) -> UpstreamStats | None:
        """None: this client does not tell."""
        ...

    async def close(self) -> None: ...


class Upstreams(Protocol):
    """One upstream per provider, opened when first needed."""

    def of(self, provider: Provider) -> Upstream: ...

    async def close(self) -> None: ...
