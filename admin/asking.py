"""Asking the event bus for a page: with a bound, and with one sentence on what to do when it does not answer.

With the embedded log the keeper answers, with Redis Redis itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from bus.dead_letters import DeadLetters, open_dead_letters
from bus.errors import BusError, BusUnavailable
from bus.inspection import Inspection
from bus.standing import Standing, standing
from config.checks import is_bus_shared
from config.paths import keeper_socket
from config.settings import Settings

_PATIENCE_S: Final = 5.0  # a frozen Redis must not hold a page for longer
_LOOKS: Final = 3  # of 0.2 s; a page that renews itself looks again anyway


async def ask_standing(settings: Settings) -> Standing:
    """Raises BusUnavailable."""
    async with _bounded():
        return await standing(settings, looks=_LOOKS)


async def ask_relay(settings: Settings) -> dict[str, Any]:
    """This host's, also while the bus is away; empty when no keeper answers."""
    try:
        return await Inspection(keeper_socket(settings)).relay()
    except BusUnavailable:
        return {}


@asynccontextmanager
async def ask_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    """Raises BusUnavailable. Each question to it has a bound of its own, so that a long act may ask many."""
    try:
        async with open_dead_letters(settings) as bus:
            yield bus
    except BusUnavailable:
        raise
    except BusError as error:
        raise BusUnavailable(str(error)) from error


def what_to_do(settings: Settings) -> str:
    """When the bus does not answer."""
    if is_bus_shared(settings):
        return "Start Redis, or check REDIS_URL; until it answers, events wait in the spools."
    return "Start `llm-proxy server`; until its keeper answers, events wait in the spools."


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            yield
    except TimeoutError as error:
        raise BusUnavailable(f"no answer within {_PATIENCE_S:.0f} s") from error
    except BusUnavailable:
        raise
    except BusError as error:
        raise BusUnavailable(str(error)) from error
