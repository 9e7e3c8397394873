"""The load generator, a process of its own: `python -m tests.bench.load '{"kind": "json", ...}'` prints JSON.

It does as little as it can per answer, because it shares the machine with what it measures. Latencies of chunks are
taken against the time that the upstream wrote into each, so that only the way counts.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import uvloop
from msgspec import Struct

CHAT: Final = "/v1/chat/completions"
_STAMP: Final = re.compile(rb"@(\d{19})")
_END: Final = b"0\r\n\r\n"
_PIECE: Final = bytes(256 * 1024)
_LENGTH: Final = re.compile(rb"content-length: *", re.IGNORECASE)


class Job(Struct, forbid_unknown_fields=True):
    kind: str
    """json, burst, streams, upload or download."""
    port: int
    token: str = ""
    tokens: str = ""
    """Path of a file with a token a line: each call shows the next one."""
    headers: tuple[str, ...] = ()
    """More of them, as lines."""
    target: str = CHAT
    model: str = "gpt-4.1"
    status: int = 200
    """Any other answer is an error."""
    concurrency: int = 1
    seconds: float = 1.0
    """Of json and burst."""
    longest_s: float = 60.0
    """After this, streams are left as they are."""
    events: int = 0
    gap_ms: float = 0
    spread: bool = True
    size: int = 1024
    """Bytes of the body."""


class Told(Struct, frozen=True):
    """What came of a job. Latencies are microseconds: of answers, or of every chunk of the streams."""

    count: int
    """Answers; of streams, chunks; of a body, bytes."""
    seconds: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    first_p50_us: float = 0.0
    """Until a stream's first byte."""
    errors: int = 0
    error: str = ""
    """How the first of them begins."""


class Seen:
    """What the connections of a job gather."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.latencies_us: list[float] = []
        self.first_us: list[float] = []
        self.events = 0
        self.errors = 0
        self.error = ""

    def refused(self, answer: bytes) -> None:
        self.errors += 1
        self.error = self.error or answer[:300].decode("latin-1")

    def told(self) -> Told:
        return Told(
            count=self.events or len(self.latencies_us),
            seconds=time.monotonic() - self.began,
            p50_us=_quantile(self.latencies_us, 0.5),
            p99_us=_quantile(self.latencies_us, 0.99),
            first_p50_us=_quantile(self.first_us, 0.5),
            errors=self.errors,
            error=self.error,
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
        *job.headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def asked(job: Job) -> str:
    """What the mock is to do, as its query has it."""
    if job.kind == "burst":
        return f"events={job.events}&burst=1"
    return f"events={job.events}&gap_ms={job.gap_ms}" + ("&spread=1" if job.spread else "") if job.events else ""


def chat(job: Job) -> bytes:
    """The whole request for a completion."""
    call: dict[str, Any] = {"model": job.model, "messages": [{"role": "user", "content": ""}]}
    if job.events:
        call["stream"] = True
    call["messages"][0]["content"] = "y" * (job.size - len(msgspec.json.encode(call)))
    body = msgspec.json.encode(call)
    target = f"{job.target}?{asked(job)}" if job.events else job.target
    return head(job, "POST", target, len(body)) + body


class _Client(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own, which is none by name


class Asker(_Client):
    """One connection that asks again as soon as it has been answered."""

    def __init__(self, request: bytes, job: Job, until: float, seen: Seen) -> None:
        self._request, self._until, self._seen = request, until, seen
        self._good = b"HTTP/1.1 %d" % job.status
        self._has_events = job.events > 0
        self._buffer = b""
        self._named = b""
        """How this server writes Content-Length; looked for once."""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._seen.errors += 1
            self.done.set_result(None)

    def data_received(self, piece: bytes) -> None:
        if self._buffer:
            piece = self._buffer + piece
        if not self._is_whole(piece):
            self._buffer = piece
            return
        self._buffer = b""
        if piece.startswith(self._good):
            self._seen.latencies_us.append((time.perf_counter_ns() - self._asked) / 1000)
            if self._has_events:
                self._seen.events += piece.count(b"@")
        else:
            self._seen.refused(piece)
        if time.monotonic() < self._until:
            self._ask()
        else:
            self.done.set_result(None)
            self.transport.close()

    def _is_whole(self, answer: bytes) -> bool:
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            return False
        start = answer.find(self._named, 0, end) if self._named else -1
        if start < 0:
            found = _LENGTH.search(answer, 0, end)
            if found is None:
                return answer.endswith(_END)
            self._named, start = found[0], found.start()
        start += len(self._named)
        return len(answer) >= end + 4 + int(answer[start : answer.find(b"\r", start)])

    def _ask(self) -> None:
        self._asked = time.perf_counter_ns()
        self.transport.write(self._request)


class ManyAskers(Asker):
    """Takes its requests from where all of them take theirs."""

    def __init__(self, requests: Iterator[bytes], job: Job, until: float, seen: Seen) -> None:
        super().__init__(b"", job, until, seen)
        self._requests = requests

    def _ask(self) -> None:
        self._request = next(self._requests)
        super()._ask()


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
                self._seen.refused(piece)
        text, last = self._tail + piece, 0
        for stamp in _STAMP.finditer(text):
            self._seen.latencies_us.append((now - int(stamp[1])) / 1000)
            last = stamp.end()
        self._tail = text[max(last, len(text) - 20) :]
        if text.endswith(_END):
            self.leave()

    def leave(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
            self.transport.close()


async def ask(job: Job) -> Told:
    make = _asker(job)
    seen = Seen()
    until = seen.began + job.seconds
    askers = [await _connect(job, lambda: make(until, seen)) for _ in range(job.concurrency)]
    await asyncio.gather(*(a.done for a in askers))
    return seen.told()


def _asker(job: Job) -> Callable[[float, Seen], Asker]:
    if not job.tokens:
        request = chat(job)
        return lambda until, seen: Asker(request, job, until, seen)
    known = Path(job.tokens).read_text().split()
    requests = cycle([chat(msgspec.structs.replace(job, token=token)) for token in known])
    return lambda until, seen: ManyAskers(requests, job, until, seen)


async def listen(job: Job) -> Told:
    seen, request = Seen(), chat(job)
    listeners = [await _connect(job, lambda: Listener(request, seen)) for _ in range(job.concurrency)]
    await asyncio.wait([one.done for one in listeners], timeout=job.longest_s)
    for one in listeners:
        one.leave()
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


KINDS: Final = {"json": ask, "burst": ask, "streams": listen, "upload": upload, "download": download}


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    told = uvloop.run(KINDS[job.kind](job))
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
