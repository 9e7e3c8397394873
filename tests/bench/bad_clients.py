"""Clients that misbehave, a process of its own: `python -m tests.bench.bad_clients '{"port": 1, ...}'`.

Each kind by its number of clients, again and again until the time is over. Half of those that hold on do so to the end,
the others for a while, so that both what is held and what comes and goes is seen. Prints JSON: what each was told.
"""

import asyncio
import json
import os
import random
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec
import uvloop
from msgspec import Struct

from tests.bench.load import Job, chat, head

POOL_OF_4: Final = "/azure"
"""Before the path: the way to a provider that has four connections."""
_HOLD_S: Final = 45.0
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 0.2
_MIB: Final = 1024 * 1024


class Bad(Struct, frozen=True, forbid_unknown_fields=True):
    port: int
    token: str
    seconds: float
    clients: dict[str, int]
    """Name of a kind below to how many."""


class Client(Struct):
    """One of them: what it needs to act once."""

    port: int
    token: str
    hold_s: float
    reader: StreamReader
    writer: StreamWriter

    def job(self, **more: object) -> Job:
        return Job(kind="json", port=self.port, token=self.token, **more)  # type: ignore[arg-type]

    async def send_slowly(self, start: bytes) -> str:
        """Then a byte a second, until we are answered, closed or tired of it."""
        self.writer.write(start)
        until = time.monotonic() + self.hold_s
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(1):
                    return status_of(await self.reader.read(4096))
            except TimeoutError:
                self.writer.write(b"a")
        return "held until it left"

    async def answer(self) -> str:
        async with asyncio.timeout(_PATIENCE_S):
            return status_of(await self.reader.read(4096))


def status_of(answer: bytes) -> str:
    if not answer:
        return "closed"
    first, *fields = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower().split("\r\n")
    retry = [field for field in fields if field.startswith("retry-after")]
    return " ".join([first.split(" ")[1], *retry])


async def head_a_byte_a_second(client: Client) -> str:
    return await client.send_slowly(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-long: ")


async def body_a_byte_a_second(client: Client) -> str:
    return await client.send_slowly(head(client.job(), "POST", "/v1/files", 4 * _MIB))


async def small_body_a_byte_a_second(client: Client) -> str:
    return await client.send_slowly(head(client.job(), "POST", "/v1/chat/completions", 20_000))


async def body_of_nobody(client: Client) -> str:
    return await client.send_slowly(head(Job(kind="json", port=client.port, token="no"), "POST", "/v1/files", _MIB))


async def not_reading(client: Client) -> str:
    client.reader._limit = 1024  # type: ignore[attr-defined]  # stops reading when it has twice that
    client.writer.write(head(client.job(), "GET", f"/v1/files/f/content?bytes={500 * _MIB}", 0))
    await asyncio.sleep(client.hold_s)
    return "held until it left"


async def upstream_a_byte_a_second(client: Client) -> str:
    """A patient client of an upstream that drips for ten seconds."""
    client.writer.write(chat(client.job(target="/v1/chat/completions?drip=10")))
    async with asyncio.timeout(_PATIENCE_S):
        answer = await client.reader.readuntil(b"\r\n0\r\n\r\n")
    return status_of(answer)


async def odd_head(client: Client) -> str:
    oddity = random.choice(list(ODDITIES))
    client.writer.write(ODDITIES[oddity])
    return f"{oddity}: {await client.answer()}"


async def full_pool(client: Client) -> str:
    """Streams of four seconds, from the provider with four connections."""
    client.writer.write(chat(client.job(target=f"{POOL_OF_4}/v1/chat/completions", events=4, gap_ms=1000)))
    began = time.monotonic()
    answer = b""
    async with asyncio.timeout(_PATIENCE_S):
        while not answer or (answer.startswith(b"HTTP/1.1 200") and not answer.endswith(b"0\r\n\r\n")):
            piece = await client.reader.read(4096)
            if not piece:
                return "closed"
            answer += piece
    told = status_of(answer)
    return told if told == "200" else f"{told} (after {round(time.monotonic() - began)} s)"


async def dropped(client: Client) -> str:
    """Opened, told nothing, half or all of a request, and dropped: by FIN or by RST."""
    whole = chat(client.job())
    client.writer.write(whole[: random.choice((0, 30, len(whole) - 5, len(whole)))])
    if random.random() < 0.5:
        client.writer.transport.abort()
    return "dropped"


def _odd(*fields: bytes, target: bytes = b"/v1/models") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"host: x", *fields, b"", b""])


ODDITIES: Final = {
    "a header of 64 KiB": _odd(b"x-a: " + b"a" * 65_536),
    "a header of 4 MiB": _odd(b"x-a: " + b"a" * 4 * _MIB),
    "50 headers of 8 KiB": _odd(*(b"x-%d: " % n + b"a" * 8192 for n in range(50))),
    "5,000 headers": _odd(*(b"x-%d: a" % n for n in range(5000))),
    "a target of 128 KiB": _odd(target=b"/v1/models?" + b"a" * 131_072),
    "bytes that are no HTTP": os.urandom(2000),
    "two lengths": _odd(b"content-length: 5", b"content-length: 6"),
}
KINDS: Final[dict[str, Callable[[Client], Awaitable[str]]]] = {
    act.__name__.replace("_", " "): act
    for act in (
        head_a_byte_a_second,
        body_a_byte_a_second,
        small_body_a_byte_a_second,
        body_of_nobody,
        not_reading,
        upstream_a_byte_a_second,
        odd_head,
        full_pool,
        dropped,
    )
}


async def _again(bad: Bad, kind: str, number: int, until: float, told: Counter[str]) -> None:
    while (left := until - time.monotonic()) > 0:
        hold_s = left if number % 2 else min(left, _HOLD_S * (0.5 + random.random()))
        told[await _once(bad, kind, hold_s)] += 1
        await asyncio.sleep(_PAUSE_S * (0.5 + random.random()))


async def _once(bad: Bad, kind: str, hold_s: float) -> str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", bad.port)
    except OSError as error:
        return f"not connected: {error.strerror}"
    try:
        return await KINDS[kind](Client(bad.port, bad.token, hold_s, reader, writer))
    except TimeoutError:
        return f"nothing in {_PATIENCE_S:.0f} s"
    except (OSError, asyncio.IncompleteReadError):
        return "closed"
    finally:
        writer.transport.abort()


def _all(bad: Bad) -> Iterator[tuple[str, int]]:
    return ((kind, number) for kind, clients in bad.clients.items() for number in range(clients))


async def misbehave(bad: Bad) -> dict[str, Counter[str]]:
    told: dict[str, Counter[str]] = {kind: Counter() for kind in bad.clients}
    until = time.monotonic() + bad.seconds
    async with asyncio.TaskGroup() as group:
        for kind, number in _all(bad):
            group.create_task(_again(bad, kind, number, until, told[kind]), name=f"{kind} {number}")
    return told


if __name__ == "__main__":
    print(json.dumps(uvloop.run(misbehave(msgspec.json.decode(sys.argv[1], type=Bad)))))
