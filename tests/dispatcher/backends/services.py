"""A conversation with everything in it, and a fleet of one backend that runs until the log is empty."""

import asyncio

from bus.event import Body, ExchangeFinished, Usage
from bus.sqlite_log import SqliteLog
from dispatcher.backends.base import Backend
from dispatcher.fleet import Fleet
from tests.dispatcher.scripted import QUICK, feed, group_of, make_event
from tests.support.upstream import sse
from tests.support.waiting import eventually_async

CALL = b'{"model":"gpt-4o","temperature":0.5,"stream":true,"messages":[{"role":"user","content":"How are you?"}]}'
CHUNKS = sse(
    '{"id":"c1","model":"gpt-4o-2","choices":[{"index":0,"delta":{"role":"assistant","content":"Fine, "}}]}',
    '{"id":"c1","choices":[{"index":0,"delta":{"content":"thanks."},"finish_reason":"stop"}]}',
    "[DONE]",
)


def conversation(number: int = 0, /, **changes: object) -> ExchangeFinished:
    """A streamed answer without usage in it, which the event knows all the same."""
    fields: dict[str, object] = {
        "accepted_at_ms": 1_795_000_000_250 + number,
        "request_body": Body(CALL, "application/json"),
        "response_body": Body(CHUNKS, "text/event-stream"),
        "streamed": True,
        "first_byte_us": 400_000,
        "last_byte_us": 1_900_000,
        "response_model": "gpt-4o-2",
        "response_id": "c1",
        "end_user": "grete",
        "session_id": "session-9",
        "usage": Usage(input=10, cache_read=4, output=6, reasoning=2),
        "cost_microusd": 1500,
    }
    return make_event(number, **{**fields, **changes})


async def delivered_by(backend: Backend, log: SqliteLog, events: list[ExchangeFinished]) -> tuple[int, int]:
    """Runs until every event is delivered or dead; how many of each."""
    await log.ensure_groups([backend.name])
    await feed(log, events)
    stop = asyncio.Event()

    async def is_done() -> bool:
        group = await group_of(log, backend.name)
        return group.delivered + group.dead == len(events)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(Fleet([backend], log, QUICK).run(stop))
        await eventually_async(is_done)
        stop.set()
    group = await group_of(log, backend.name)
    return group.delivered, group.dead
