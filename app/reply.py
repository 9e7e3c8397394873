"""The reply as it is pushed to the client: start, write, finish.

`Reply` is what processors see; wrapping it (`Record`, `ShareWithOrigins`) is how one looks at what goes out.
`AsgiReply` is the innermost. The client is done at the piece that completes Content-Length, whatever ASGI's
`more_body` says; so that piece is sent as the last one.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Reply(Protocol):
    async def start(self, status: int, headers: Headers) -> None:
        """Status and head. Called once."""
        ...

    def write(self, chunk: bytes, *, last: bool = False) -> Awaitable[None]:
        """A piece of the body. With `last` it is the final one and `finish` need not be called."""
        ...

    async def finish(self) -> None:
        """The end of a reply whose last piece was not known as such. Idempotent."""
        ...

    @property
    def is_started(self) -> bool: ...

    @property
    def is_finished(self) -> bool: ...


class AsgiReply:
    __slots__ = ("_send", "is_finished", "is_started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False
        self.is_finished = False

    async def start(self, status: int, headers: Headers) -> None:
        self.is_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, chunk: bytes, *, last: bool = False) -> Awaitable[None]:
        self.is_finished = last
        return self._send({"type": "http.response.body", "body": chunk, "more_body": not last})

    async def finish(self) -> None:
        if not self.is_finished:
            await self.write(b"", last=True)
