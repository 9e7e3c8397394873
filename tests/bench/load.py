"""The load generator, a process of its own: `python -m tests.bench.load '{"kind": "json", ...}'` prints JSON.

It does as little as it can per answer, because it shares the machine with what it measures. Latencies of chunks are
taken against the time that the upstream wrote into each, so that only the way counts.
"""

import asyncio
import re
import sys
import time
from typing import Any, Final, cast

import msgspec
import uvloop
from msgspec import Struct

_STAMP: Final = re.compile(rb"@(\d{19})")
_END: Final = b"0\r\n\r\n"
_PIECE: Final = bytes(256 * 1024)


class Job(Struct, forbid_unknown_fields=True):
    kind: str
    """json, streams, upload or download."""
    port: int
    token: str = ""
    concurrency: int = 1
    seconds: float = 1.0
    events: int = 0
    gap_ms: float = 0
    spread: bool = True
    size: int = 0


class Told(Struct, frozen=True):
    """What came of a job. Latencies are microseconds: of answers, or of every chunk of the streams."""

    count: int
    seconds: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    first_p50_us: float = 0.0
    """Until a stream's first byte."""
    errors: int = 0


class Seen:
    """What the connections of a job gather."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.latencies_us: list[float] = []
        self.first_us: list[float] = []
        self.errors = 0

    def told(self) -> Told:
        return Told(
            count=len(self.latencies_us),
            seconds=time.monotonic() - self.began,
            p50_us=_quantile(self.latencies_us, 0.5),
            p99_us=_quantile(self.latencies_us, 0.99),
            first_p50_us=_quantile(self.first_us, 0.5),
            errors=self.errors,
        )


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[int(q * len(ordered))] if ordered else 0.0


def head(job: Job, method: str, target: str, length: int) -> bytes:
    lines = [
        f"{method} {target} HTTP/1.1",
        "host: 127.0.0.1",
        f"authorization: Bearer {job.token}",
        "content-type: application/json",
        f"content-length: {length}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chat_body() -> bytes:
    call: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": ""}]}
    call["messages"][0]["content"] = "y" * (1024 - len(msgspec.json.encode(call)))
    return msgspec.json.encode(call)


class _Client(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own, which is none by name


class Asker(_Client):
    """One connection that asks again as soon as it has been answered."""

    def __init__(self, request: bytes, until: float, seen: Seen) -> None:
        self._request, self._until, self._seen = request, until, seen
        self._buffer = b""
        self._missing: int | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._seen.errors += 1
            self.done.set_result(None)

    def data_received(self, piece: bytes) -> None:
        self._buffer += piece
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        start = self._buffer.find(b"content-length: ", 0, end) + 16
        length = int(self._buffer[start : self._buffer.find(b"\r\n", start)])
        if len(self._buffer) < end + 4 + length:
            return
        if self._buffer.startswith(b"HTTP/1.1 200"):
            self._seen.latencies_us.append((time.perf_counter_ns() - self._asked) / 1000)
        else:
            self._seen.errors += 1
        self._buffer = b""
        if time.monotonic() < self._until:
            self._ask()
        else:
            self.done.set_result(None)
            self.transport.close()

    def _ask(self) -> None:
        self._asked = time.perf_counter_ns()
        self.transport.write(self._request)


class Listener(_Client):
    """One connection that listens to one stream."""

    def __init__(self, request: bytes, seen: Seen) -> None:
        self._request, self._seen = request, seen
        self._tail = b""
        self._is_begun = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._asked = time.perf_counter_ns()
        self.transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._seen.errors += 1
            self.done.set_result(None)

    def data_received(self, piece: bytes) -> None:
        now = time.monotonic_ns()
        if not self._is_begun:
            self._is_begun = True
            self._seen.first_us.append((time.perf_counter_ns() - self._asked) / 1000)
            if not piece.startswith(b"HTTP/1.1 200"):
                self._seen.errors += 1
        text, last = self._tail + piece, 0
        for stamp in _STAMP.finditer(text):
            self._seen.latencies_us.append((now - int(stamp[1])) / 1000)
            last = stamp.end()
        self._tail = text[max(last, len(text) - 20) :]
        if text.endswith(_END):
            self.done.set_result(None)
            self.transport.close()


async def ask_json(job: Job) -> Told:
    seen, body = Seen(), chat_body()
    request = head(job, "POST", "/v1/chat/completions", len(body)) + body
    until = seen.began + job.seconds
    askers = [await _connect(job, lambda: Asker(request, until, seen)) for _ in range(job.concurrency)]
    await asyncio.gather(*(a.done for a in askers))
    return seen.told()


async def listen(job: Job) -> Told:
    seen, body = Seen(), chat_body()
    target = f"/v1/chat/completions?events={job.events}&gap_ms={job.gap_ms}" + ("&spread=1" if job.spread else "")
    request = head(job, "POST", target, len(body)) + body
    listeners = [await _connect(job, lambda: Listener(request, seen)) for _ in range(job.concurrency)]
    await asyncio.gather(*(one.done for one in listeners))
    return seen.told()


async def upload(job: Job) -> Told:
    reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
    began = time.monotonic()
    writer.write(head(job, "POST", "/v1/files", job.size))
    left = job.size
    while left > 0:
        writer.write(_PIECE[:left])
        left -= min(left, len(_PIECE))
        await writer.drain()
    reply = await reader.readuntil(b"}")
    writer.close()
    is_whole = b'"bytes": %d' % job.size in reply
    return Told(count=job.size, seconds=time.monotonic() - began, errors=int(not is_whole))


async def download(job: Job) -> Told:
    reader, writer = await asyncio.open_connection("127.0.0.1", job.port)
    began = time.monotonic()
    writer.write(head(job, "GET", f"/v1/files/f/content?bytes={job.size}", 0))
    await reader.readuntil(b"\r\n\r\n")
    got = 0
    while got < job.size and (piece := await reader.read(len(_PIECE))):
        got += len(piece)
    writer.close()
    return Told(count=got, seconds=time.monotonic() - began, errors=int(got != job.size))


async def _connect(job: Job, factory: Any) -> Any:
    _, protocol = await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", job.port)
    return protocol


KINDS: Final = {"json": ask_json, "streams": listen, "upload": upload, "download": download}


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    told = uvloop.run(KINDS[job.kind](job))
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
