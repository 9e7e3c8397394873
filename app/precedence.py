"""Who goes first where threads share a processor.

A call passes through three threads of a worker: Granian's for the sockets, Granian's for callbacks, and the event
loop's. Linux lets a thread that wakes preempt the one that runs. That is the shortest way for a single call, and under
load it is dear: the three change places ten times a call, and each finds its caches cold. A thread under SCHED_BATCH
preempts nobody (sched(7)): it runs when the others pause, and finds more to do at once.
"""

import asyncio
import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Final

_THREADS: Final = Path("/proc/self/task")
_LOOK_EVERY_S: Final = 0.1
_OF_ONE_LOOK: Final = 0.2  # what one look counts beside those before it
_LATE_S: Final = 0.001
_LATEST_S: Final = 0.01  # a machine that stood still, or a process that was stopped, is not under load


def step_back() -> None:
    """This thread, and all that it starts from now on, preempt nobody. Does nothing off Linux."""
    _let(0, preempt=False)


class Precedence:
    """While the event loop is late, its thread goes before the others of this process."""

    def __init__(self) -> None:
        self.is_loop_first = False
        self._late_s = 0.0

    async def keep(self) -> None:
        """Looks for ever. To be run in the main thread."""
        while True:
            due = time.monotonic() + _LOOK_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)
            self.was_late(time.monotonic() - due)

    def was_late(self, late_s: float) -> None:
        """What one look found."""
        self._late_s += (min(late_s, _LATEST_S) - self._late_s) * _OF_ONE_LOOK
        if self.is_loop_first != (self._late_s > _LATE_S):
            self.is_loop_first = not self.is_loop_first
            for thread in _others():
                _let(thread, preempt=not self.is_loop_first)


def _others() -> list[int]:
    try:
        return [int(thread.name) for thread in _THREADS.iterdir() if int(thread.name) != threading.get_native_id()]
    except OSError:  # not Linux
        return []


def _let(thread: int, *, preempt: bool) -> None:
    policy: int | None = getattr(os, "SCHED_OTHER" if preempt else "SCHED_BATCH", None)
    if policy is not None:
        with contextlib.suppress(OSError):  # a sandbox may forbid it, and a thread may have ended
            os.sched_setscheduler(thread, policy, os.sched_param(0))
