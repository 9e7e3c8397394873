"""How many events a second one dispatcher process delivers, from the embedded log to each kind of backend.

    python -m tests.bench.bench_dispatcher [events] [batch size]

The sink is a process of its own that takes everything and does as little as it can. `alone` is the backend without the
log; `with the log` is the whole way: read, decode, deliver, acknowledge. Processor time is that of our process, per
event: it suffers least from others on the machine.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

from bus.bus import Entry
from bus.codec import encode
from bus.event import Body, ExchangeFinished, Usage
from bus.sqlite_log import SqliteLog
from config.ids import id_bytes, new_id
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Backend, Delivered, Ok
from dispatcher.backends.file import FileBackend
from dispatcher.fleet import Fleet
from dispatcher.main import BACKENDS
from dispatcher.worker import Pace
from sql.stores import open_stores
from tests.bench.bench_recording import exchange
from tests.support.proxy import ROOT

BARS = {"webhook": 5_000, "file": 20_000}
"""Events a second in batches of 100."""
_APPENDED_AT_ONCE = 500


class Rate(Struct, frozen=True):
    per_s: float
    cpu_us: float
    """Of our process, per event."""

    def __str__(self) -> str:
        return f"{self.per_s:9,.0f} events/s {self.cpu_us:7.1f} us of processor each"


class Sink(asyncio.Protocol):
    """Says yes to every request as soon as its last byte is there."""

    def __init__(self) -> None:
        self._missing = 0
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, piece: bytes) -> None:
        if not self._missing:
            self._head += piece
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = self._head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
            self._missing, piece, self._head = int(length), self._head[end + 4 :], b""
        self._missing -= len(piece)
        if self._missing <= 0:
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


async def serve_sink() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def running_sink() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.bench_dispatcher", "--sink"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


def made(count: int) -> list[ExchangeFinished]:
    """Of 2 KB, with a conversation in them."""
    call = b'{"model":"gpt-5","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 840)
    reply = b'{"choices":[{"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}]}' % (b"y" * 820)
    changes = {"request_body": Body(call, "application/json"), "response_body": Body(reply, "application/json")}
    return [_changed(exchange()[1], **changes, usage=Usage(input=10, output=20)) for _ in range(count)]


def _changed(event: ExchangeFinished, **changes: object) -> ExchangeFinished:
    return msgspec.structs.replace(event, event_id=new_id(), **changes)


async def alone(backend: Backend, events: list[ExchangeFinished], batch_size: int) -> Rate:
    await backend.open()
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(events), batch_size):
        batch = [Delivered(event, "", 1) for event in events[start : start + batch_size]]
        outcomes = await backend.deliver(batch)
        assert all(isinstance(outcome, Ok) for outcome in outcomes), outcomes[:3]
    rate = _rate(len(events), began, cpu)
    await backend.close()
    return rate


async def with_the_log(backend: Backend, events: list[ExchangeFinished], root: Path, pace: Pace) -> Rate:
    log = await SqliteLog.open(root / f"{backend.name}.db")
    await log.ensure_groups([backend.name])
    for start in range(0, len(events), _APPENDED_AT_ONCE):
        some = events[start : start + _APPENDED_AT_ONCE]
        await log.append(b"bench", 1, start, [Entry(id_bytes(e.event_id), encode(e)) for e in some])
    stop = asyncio.Event()
    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.timeout(300), asyncio.TaskGroup() as tasks:
        tasks.create_task(Fleet([backend], log, pace).run(stop))
        while (await log.stats()).groups[0].delivered < len(events):
            await asyncio.sleep(0.05)
        rate = _rate(len(events), began, cpu)
        stop.set()
    await log.close()
    return rate


def _rate(count: int, began: float, cpu: float) -> Rate:
    return Rate(count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6)


def settings_for(sink: str, root: Path, batch_size: int) -> Settings:
    key = Secret("a-key-for-the-bench")
    return Settings(
        data_dir=str(root),
        dispatcher_batch_size=batch_size,
        webhook_url=Secret(sink),
        webhook_secret=key,
        webhook_batch_size=batch_size,
        otlp_endpoint=sink,
        langfuse_host=sink,
        langfuse_public_key=key,
        langfuse_secret_key=key,
        helicone_endpoint=sink,
        helicone_api_key=key,
    )


async def main(count: int, batch_size: int) -> int:
    print(f"{count:,} events of 2 KB in batches of {batch_size}, load average {os.getloadavg()[0]:.1f}")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as folder, running_sink() as sink:
        settings = settings_for(sink, Path(folder), batch_size)
        stores, pace, events = open_stores(settings), Pace.from_settings(settings), made(count)
        for name in ("webhook", "otlp", "langfuse", "helicone", "file"):
            some = events[: count // 10] if name == "helicone" else events  # a call per event
            make = BACKENDS[name] if name != "file" else None
            paths = iter((Path(folder, "alone.jsonl"), Path(folder, "log.jsonl")))
            built = [make(settings, stores) if make else FileBackend(next(paths)) for _ in range(2)]
            by_itself = await alone(built[0], some, batch_size)
            whole = await with_the_log(built[1], some, Path(folder), pace)
            wanted = BARS.get(name, 0)
            missed += whole.per_s < wanted
            bar = f"   {'MISSED' if whole.per_s < wanted else 'met'}: wanted {wanted:,}" if wanted else ""
            print(f"{name:9} alone        {by_itself}\n{name:9} with the log {whole}{bar}", flush=True)
        await stores.close()
    return missed


if __name__ == "__main__":
    if sys.argv[1:] == ["--sink"]:
        uvloop.run(serve_sink())
    else:
        numbers = [int(one) for one in sys.argv[1:]] + [30_000, 100][len(sys.argv) - 1 :]
        sys.exit(uvloop.run(main(*numbers)))
