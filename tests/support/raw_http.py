"""A server on a raw socket in the test's own loop: what it answers is bytes, and what it is sent can be looked at."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.support.upstream import Received, read_request


@dataclass
class Peer:
    """One connection, as the server sees it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "RawServer"

    async def request(self) -> Received:
        """The next request; raises ConnectionResetError when there is none."""
        received = await read_request(self.reader)
        if received is None:
            raise ConnectionResetError
        self.server.received.append(received)
        return received

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> None:
        """Returns when the other side has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


@dataclass
class RawServer:
    port: int = 0
    connections: int = 0
    open: int = 0
    received: list[Received] = field(default_factory=list)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def raw_server(
    script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Runs `script` for each connection, and closes it afterwards."""
    told = RawServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.connections += 1
        told.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(Peer(reader, writer, told))
        finally:
            told.open -= 1
            writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=tls, limit=2**20)
    told.port = server.sockets[0].getsockname()[1]
    try:
        yield told
    finally:
        server.close()


def answering(*answers: bytes) -> Script:
    """One of the answers to each request of a connection, in turn; then it closes."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)

    return script


def always(answer: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)

    return script
