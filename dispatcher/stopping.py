"""Whether the worker that a backend delivers for is told to stop: what is not sent yet is then handed over at once."""

import asyncio
from contextvars import ContextVar

_stop: ContextVar[asyncio.Event | None] = ContextVar("stop", default=None)


def stops_with(stop: asyncio.Event) -> None:
    """For this task and those it starts."""
    _stop.set(stop)


def is_stopping() -> bool:
    stop = _stop.get()
    return stop is not None and stop.is_set()
