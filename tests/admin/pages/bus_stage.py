"""Both buses with dead letters in them, and the keeper of the embedded one: real log, real relay, real socket."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from bus.bus import Bus, Entry
from bus.codec import encode
from bus.event import Body, ExchangeFinished, Usage
from bus.inspection import BackendState, serve_inspection
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.relay import Relay
from bus.sqlite_log import SqliteLog
from config import paths
from config.ids import id_bytes
from config.settings import Settings
from tests.support.spools import finished, open_spool
from tests.support.waiting import eventually

WHY = "400 Bad Request: the field `metadata.session` is longer than 200 characters"


def event(said: str = "Where is my parcel?", **fields: Any) -> ExchangeFinished:
    """As a project with recording `full` has them."""
    known: dict[str, Any] = {
        "accepted_at_ms": 1_795_290_000_000,
        "path": "/v1/chat/completions",
        "provider": "openai",
        "model": "gpt-4.1-mini",
        "usage": Usage(input=812, output=96),
        "recording": "full",
        "request_body": Body(data=f'{{"prompt":"{said}"}}'.encode(), content_type="application/json"),
    }
    return finished(**(known | fields))


async def bury(bus: Bus, backend: str, number: int, reason: str = "permanent", detail: str = WHY) -> None:
    """The next `number` events are given up."""
    for delivery in await bus.read(backend, "c1", max_entries=number, max_bytes=1 << 24, block_ms=0):
        assert await bus.dead_letter(backend, "c1", delivery.key, reason=reason, detail=detail)


async def deliver(bus: Bus, backend: str, number: int) -> None:
    taken = await bus.read(backend, "c1", max_entries=number, max_bytes=1 << 24, block_ms=0)
    await bus.ack(backend, [delivery.key for delivery in taken])


async def append(bus: Bus, events: Sequence[ExchangeFinished]) -> None:
    """Past any spool."""
    await bus.append(b"spool-of-the-tests", 1, 0, [Entry(id_bytes(e.event_id), encode(e)) for e in events])


@asynccontextmanager
async def keeper(
    settings: Settings,
    events: Sequence[ExchangeFinished],
    *,
    backends: Sequence[str] = ("webhook", "database"),
    states: Callable[[], Sequence[BackendState]] = tuple,
) -> AsyncIterator[SqliteLog]:
    """Answers on the socket; the events went from a spool through the relay into the log."""
    root = paths.spool_root(settings)
    spool = open_spool(root)
    for each in events:
        await spool.finish(each)
    spool.close()
    log = await SqliteLog.open(paths.bus_db(settings))
    await log.ensure_groups(backends)
    relay = Relay(root, log, retain="replicated", poll_ms=5)
    try:
        assert await relay.drain(60) == 0
        async with serve_inspection(paths.keeper_socket(settings), log, relay, states):
            yield log
    finally:
        relay.close()
        await log.close()


@contextmanager
def keeping(
    settings: Settings, number: int, prepare: Callable[[SqliteLog], Awaitable[None]], **options: Any
) -> Iterator[None]:
    """A keeper in a thread, for tests without a loop of their own."""
    is_ready, stop = threading.Event(), threading.Event()

    async def keep() -> None:
        async with keeper(settings, [event() for _ in range(number)], **options) as log:
            await prepare(log)
            is_ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(keep()), name="keeper")
    thread.start()
    try:
        eventually(lambda: is_ready.is_set() or not thread.is_alive())
        assert is_ready.is_set()
        yield
    finally:
        stop.set()
        thread.join()


@asynccontextmanager
async def redis_bus(settings: Settings) -> AsyncIterator[RedisStreams]:
    bus = RedisStreams(RedisLink.of(settings), settings.redis_stream_key, min_idle_ms=1000)
    try:
        yield bus
    finally:
        await bus.close()
