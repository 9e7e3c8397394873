"""The one way to wait here: until the time is over or the process is to stop."""

import asyncio
import contextlib


async def sleep_or_stop(delay_ms: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay_ms / 1000):
            await stop.wait()
