"""What the servers of services have in common: real sockets, a queue of misbehaviour, and a memory.

A service behaves as `behave` of its own server says, except for the next requests that a fault is queued for.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.upstream import Received, Upstream, Wire

JSON = (b"content-type", b"application/json")

Fault = Callable[["HttpSink", Received, Wire], Awaitable[None]]


@dataclass
class HttpSink:
    upstream: Upstream
    path: str
    faults: deque[Fault] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.upstream.answers[self.path] = self._answer

    @property
    def url(self) -> str:
        return self.upstream.url + self.path

    @property
    def received(self) -> list[Received]:
        return self.upstream.received

    def next(self, *faults: Fault) -> None:
        """What happens to the next requests, one each."""
        self.faults.extend(faults)

    async def behave(self, received: Received, wire: Wire) -> None:
        raise NotImplementedError

    async def _answer(self, received: Received, wire: Wire) -> None:
        if self.faults:
            await self.faults.popleft()(self, received, wire)
        else:
            await self.behave(received, wire)


class Deaf(Wire):
    """A wire whose other end hears nothing: the service does its work and the answer is lost."""

    async def send(self, data: bytes) -> None:
        pass


def says(status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Fault:
    async def fault(sink: HttpSink, received: Received, wire: Wire) -> None:
        await wire.reply(status, body, *headers)

    return fault


async def takes_and_cuts(sink: HttpSink, received: Received, wire: Wire) -> None:
    """The dreaded one: everything is taken, and the connection is gone before the answer."""
    await sink.behave(received, Deaf(wire.reader, wire.writer))
    wire.cut()


async def cuts(sink: HttpSink, received: Received, wire: Wire) -> None:
    wire.cut()


async def cuts_in_the_body(sink: HttpSink, received: Received, wire: Wire) -> None:
    await wire.send(b'HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{"results":[')
    wire.cut()


async def never_answers(sink: HttpSink, received: Received, wire: Wire) -> None:
    await wire.gone(30)


async def drips(sink: HttpSink, received: Received, wire: Wire) -> None:
    """A byte now and then, so that no time-out of a single read helps."""
    await wire.start_chunked()
    while not wire.writer.is_closing():
        await wire.chunk(b" ")
        await asyncio.sleep(0.05)


async def answers_without_end(sink: HttpSink, received: Received, wire: Wire) -> None:
    await wire.start_chunked(JSON)
    while not wire.writer.is_closing():
        await wire.chunk(b"x" * 65_536)
