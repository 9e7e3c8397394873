"""Relays for tests, as fast as a test wants them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bus.relay import Relay
from bus.spool import Spool
from config.ids import id_bytes
from tests.support.spools import MemoryBus, finished


def relay_of(root: Path, bus: MemoryBus, **settings: Any) -> Relay:
    known: dict[str, Any] = {
        "retain": "replicated",
        "poll_ms": 5,
        "upkeep_ms": 20,
        "backoff_ms": 1,
        "backoff_max_ms": 5,
    }
    return Relay(root, bus, **(known | settings))


@contextlib.asynccontextmanager
async def running(root: Path, bus: MemoryBus, **settings: Any) -> AsyncIterator[Relay]:
    relay = relay_of(root, bus, **settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run(), name="relay")
        try:
            yield relay
        finally:
            task.cancel()
    relay.close()


async def record(spool: Spool, number: int, **fields: Any) -> list[bytes]:
    events = [finished(**fields) for _ in range(number)]
    for event in events:
        await spool.finish(event)
    return [id_bytes(event.event_id) for event in events]
