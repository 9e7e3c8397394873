"""How a process learns that it is to end: SIGTERM from its supervisor, SIGINT from a terminal."""

import asyncio
import signal
from collections.abc import Callable


def told_to_end() -> asyncio.Event:
    """Set when this process is told to end. To be called on its loop, once."""
    told = asyncio.Event()
    when_told_to_end(told.set)
    return told


def when_told_to_end(act: Callable[[], object]) -> None:
    """On the running loop; in the place of what was to be done before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, act)
