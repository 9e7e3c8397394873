"""Mixed load at a moderate pace, a process of its own: `python -m tests.bench.mixed '{"port": 1, ...}'`.

Plain calls, streams, uploads, clients that leave half-way, calls that are refused and /manage, each kind by a few
clients who act at fixed times and skip those that they miss. Prints a line of JSON with what came of it.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec
import uvloop
from msgspec import Struct

from tests.bench.load import Job, chat, head

MANAGEMENT_TOKEN: Final = "a-management-token-for-the-bench"
_ANSWER_S: Final = 60.0
_UPLOAD: Final = 2 * 1024 * 1024
_PIECE: Final = bytes(64 * 1024)


class Mix(Struct, frozen=True, forbid_unknown_fields=True):
    port: int
    token: str
    seconds: float
    calls_a_second: float = 100
    streams_a_second: float = 20
    uploads_a_second: float = 1
    leaving_a_second: float = 10
    refused_a_second: float = 18
    manage_a_second: float = 1


Act = Callable[[Mix, StreamReader, StreamWriter], Awaitable[str]]
"""Says in a word what came of it."""


async def call(mix: Mix, reader: StreamReader, writer: StreamWriter) -> str:
    """Ten calls over one connection, as clients with a pool make them."""
    for _ in range(10):
        writer.write(chat(Job(kind="json", port=mix.port, token=mix.token, size=random.choice((300, 1024, 20_000)))))
        status, length = await _head(reader)
        await reader.readexactly(length)
        if status != 200:
            return str(status)
    return "ten answers"


async def stream(mix: Mix, reader: StreamReader, writer: StreamWriter) -> str:
    writer.write(chat(_streamed(mix)))
    return "whole stream" if (await reader.readuntil(b"\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200") else "no stream"


async def upload(mix: Mix, reader: StreamReader, writer: StreamWriter) -> str:
    writer.write(head(Job(kind="upload", port=mix.port, token=mix.token), "POST", "/v1/files", _UPLOAD))
    for _ in range(_UPLOAD // len(_PIECE)):
        writer.write(_PIECE)
        await writer.drain()
    status, length = await _head(reader)
    await reader.readexactly(length)
    return "upload" if status == 200 else str(status)


async def leave(mix: Mix, reader: StreamReader, writer: StreamWriter) -> str:
    """In the middle of the head, of the request's body, before the reply, or within it; by FIN or by RST."""
    whole = chat(_streamed(mix))
    until = random.choice((20, len(whole) - 100, len(whole), len(whole)))
    writer.write(whole[:until])
    await writer.drain()
    if until == len(whole) and random.random() < 0.7:
        await reader.readuntil(b"@")
    else:
        await asyncio.sleep(random.random() * 0.05)
    if random.random() < 0.5:
        writer.transport.abort()
    return "left"


async def be_refused(mix: Mix, reader: StreamReader, writer: StreamWriter) -> str:
    writer.write(chat(Job(kind="json", port=mix.port, token=f"sk-nobody-knows-{random.random()}")))
    return f"refused with {(await _head(reader))[0]}"


async def manage(mix: Mix, reader: StreamReader, writer: StreamWriter) -> str:
    writer.write(head(Job(kind="json", port=mix.port, token=MANAGEMENT_TOKEN), "GET", "/manage/projects", 0))
    return f"manage {(await _head(reader))[0]}"


def _streamed(mix: Mix) -> Job:
    return Job(kind="streams", port=mix.port, token=mix.token, events=30, gap_ms=20)


async def _head(reader: StreamReader) -> tuple[int, int]:
    """Status and length of the body; 0 for a chunked one."""
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    lengths = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    return int(lines[0].split(b" ")[1]), lengths[0] if lengths else 0


async def client(mix: Mix, act: Act, every_s: float, until: float, came: Counter[str]) -> None:
    due = time.monotonic() + random.random() * every_s
    while due < until:
        await asyncio.sleep(due - time.monotonic())
        came[await _one(mix, act)] += 1
        due = max(due + every_s, time.monotonic())


async def _one(mix: Mix, act: Act) -> str:
    try:
        async with asyncio.timeout(_ANSWER_S), _connection(mix.port) as (reader, writer):
            return await act(mix, reader, writer)
    except TimeoutError:
        return f"{act.__name__}: no answer in {_ANSWER_S:.0f} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"{act.__name__}: {type(error).__name__}"


@contextlib.asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16 * 1024 * 1024)
    try:
        yield reader, writer
    finally:
        writer.transport.abort() if sys.exc_info()[0] else writer.close()


async def load(mix: Mix) -> Counter[str]:
    kinds: list[tuple[Act, float]] = [
        (call, mix.calls_a_second / 10),
        (stream, mix.streams_a_second),
        (upload, mix.uploads_a_second),
        (leave, mix.leaving_a_second),
        (be_refused, mix.refused_a_second),
        (manage, mix.manage_a_second),
    ]
    came: Counter[str] = Counter()
    until = time.monotonic() + mix.seconds
    async with asyncio.TaskGroup() as group:
        for act, rate in kinds:
            clients = max(1, round(rate * 2)) if rate else 0
            for number in range(clients):
                group.create_task(client(mix, act, clients / rate, until, came), name=f"{act.__name__} {number}")
    return came


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(msgspec.json.decode(sys.argv[1], type=Mix)))))
