"""A real backend object that does what its script says, events to feed it, and a log to feed them from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from bus.bus import Bus, Entry, GroupStats
from bus.codec import encode
from bus.event import Body, ExchangeFinished, Usage
from config.ids import id_bytes, new_id
from dispatcher.backends.base import Delivered, Ok, Outcome
from dispatcher.lots import Ground
from dispatcher.settle import Backoff
from dispatcher.worker import Pace, Worker

QUICK = Pace(batch_size=10, min_idle_ms=200, timeout_ms=2000, backoff=Backoff(1, 20))
SPOOL = b"test-spool"

Script = Callable[[Sequence[Delivered]], Awaitable[list[Outcome]]]


def make_event(number: int = 0, **changes: object) -> ExchangeFinished:
    fields: dict[str, object] = {
        "event_id": new_id(),
        "request_id": f"request-{number}",
        "accepted_at_ms": 1_795_000_000_000 + number,
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "project_id": "project-1",
        "token_id": "token-1",
        "provider": "openai",
        "dialect": "openai",
        "model": "gpt-4o",
        "usage": Usage(input=10, cache_read=2, output=5, reasoning=3),
        "last_byte_us": 1_234_567,
        "recording": "full",
        "request_body": Body(b'{"model": "gpt-4o"}', "application/json"),
        "response_body": Body(b'{"id": "x"}', "application/json"),
    }
    return ExchangeFinished(**{**fields, **changes})  # type: ignore[arg-type]


def delivered(event: ExchangeFinished, deliveries: int = 1) -> Delivered:
    return Delivered(event, "1", deliveries)


async def feed(bus: Bus, events: Sequence[ExchangeFinished]) -> None:
    await feed_raw(bus, [Entry(id_bytes(event.event_id), encode(event)) for event in events])


async def feed_raw(bus: Bus, entries: Sequence[Entry]) -> None:
    high_water = (await bus.append(SPOOL, 1, 0, [])).high_water
    await bus.append(SPOOL, 1, high_water + 1, entries)


async def group_of(bus: Bus, name: str = "scripted") -> GroupStats:
    return next(group for group in (await bus.stats()).groups if group.name == name)


async def take_all(batch: Sequence[Delivered]) -> list[Outcome]:
    return [Ok()] * len(batch)


class ScriptedBackend:
    """Keeps every batch that it was shown and every event that it said Ok to."""

    def __init__(self, script: Script = take_all, name: str = "scripted") -> None:
        self.name = name
        self.script = script
        self.batches: list[list[str]] = []
        self.taken: list[str] = []
        self.opened = 0
        self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        self.batches.append([item.event.request_id for item in batch])
        outcomes = await self.script(batch)
        pairs = zip(batch, outcomes, strict=True)
        self.taken += [item.event.request_id for item, outcome in pairs if isinstance(outcome, Ok)]
        return outcomes

    async def close(self) -> None:
        self.closed += 1


@asynccontextmanager
async def at_work(
    backend: ScriptedBackend, bus: Bus, pace: Pace = QUICK, ground: Ground | None = None
) -> AsyncIterator[Worker]:
    """A worker that runs for the length of the block and is then told to stop."""
    stop = asyncio.Event()
    worker = Worker(backend, bus, "consumer-1", pace, stop, ground=ground)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await task
