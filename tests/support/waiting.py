"""Waiting for a condition with a deadline: the only way to wait in these tests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

PATIENCE_S: Final = 60.0
"""How long what must come is waited for: met at once, but a machine may stand still for a while."""


def eventually(condition: Callable[[], object], *, within_s: float = PATIENCE_S, every_s: float = 0.02) -> None:
    """Returns when the condition holds; fails when it does not in time. An assertion error inside counts as not yet."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
            failure: BaseException | None = None
        except (AssertionError, OSError) as error:
            failure = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s") from failure
        time.sleep(every_s)


async def eventually_async(condition: Callable[[], Awaitable[object]], *, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s")
        await asyncio.sleep(0.02)


async def at_some_pace(act: Callable[[int], Awaitable[None]]) -> None:
    """For what must not be too late: a machine that stands still for a moment fails one pace, a mistake fails all.

    `act` multiplies its times by the number that it is given.
    """
    for slower in (1, 6):
        try:
            await act(slower)
            return
        except Exception:  # the last pace counts
            continue
    await act(36)


async def until(condition: Callable[[], object], *, within_s: float = PATIENCE_S) -> None:
    """The same for a condition that is seen in this very loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s")
        await asyncio.sleep(0.005)
