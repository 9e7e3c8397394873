"""A real little upstream on a raw socket, so that it can also misbehave: every byte of its answers is scripted."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest


@dataclass
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: int = 0
    was_cut: bool = False
    """The connection was closed by the other side before we had answered."""

    def all(self, name: str) -> list[bytes]:
        return [v for n, v in self.headers if n.lower() == name.lower().encode()]


Answer = Callable[[Received, "Wire"], Awaitable[None]]


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        lines = b"".join(n + b": " + v + b"\r\n" for n, v in headers)
        head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n" % (status, len(body))
        await self.send(head + lines + b"\r\n" + body)

    async def start_chunked(self, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        lines = b"".join(n + b": " + v + b"\r\n" for n, v in headers)
        await self.send(b"HTTP/1.1 %d X\r\ntransfer-encoding: chunked\r\n" % status + lines + b"\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n" % len(data) + data + b"\r\n")

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        self.writer.transport.abort()

    async def gone(self, timeout_s: float = 60.0) -> bool:
        """Whether the other side closes within the time."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(timeout_s):
                return await self.reader.read(1) == b""
            return False
        return False


@dataclass
class Upstream:
    port: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    """Path (without the query) to what is answered; without one, the request is echoed."""
    connections: int = 0
    open_connections: int = 0
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str) -> Callable[[Answer], Answer]:
        def register(answer: Answer) -> Answer:
            self.answers[path] = answer
            return answer

        return register

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        wire = Wire(reader, writer)
        try:
            while (received := await read_request(reader)) is not None:
                self.received.append(received)
                answer = self.answers.get(received.target.partition("?")[0], echo)
                await answer(received, wire)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            if self.received:
                self.received[-1].was_cut = True
        finally:
            self.open_connections -= 1
            writer.close()


async def echo(received: Received, wire: Wire) -> None:
    await wire.reply(200, received.body, (b"content-type", b"application/octet-stream"))


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head[:-4].split(b"\r\n")
    method, target, _ = line.split(b" ")
    headers = [(n, v.strip(b" \t")) for n, _, v in (h.partition(b":") for h in rest)]
    received = Received(method.decode(), target.decode("latin-1"), headers)
    if received.all("transfer-encoding"):
        await _read_chunks(reader, received)
    elif lengths := received.all("content-length"):
        received.body = await reader.readexactly(int(lengths[0]))
    return received


async def _read_chunks(reader: asyncio.StreamReader, received: Received) -> None:
    pieces = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            await reader.readuntil(b"\r\n")
            break
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
        received.chunks += 1
    received.body = b"".join(pieces)


@contextlib.contextmanager
def running_upstream() -> Iterator[Upstream]:
    """An upstream on a thread and loop of its own."""
    upstream, ready, stop = Upstream(), threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=16 * 1024 * 1024)
        upstream.port = server.sockets[0].getsockname()[1]
        upstream.loop = asyncio.get_running_loop()
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield upstream
    assert upstream.loop is not None
    upstream.loop.call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    """The module's upstream, with an empty script and an empty memory."""
    shared_upstream.received.clear()
    shared_upstream.answers.clear()
    return shared_upstream


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def sse(*events: str) -> bytes:
    """Events as they go over the wire."""
    return b"".join(re.sub(r"(?m)^", "data: ", e).encode() + b"\n\n" for e in events)
