"""One worker per backend, side by side: a slow or crashing backend does not touch the others.

A worker that crashes is started again with backoff. Its leases expire meanwhile and are claimed, so the crash counts
against the events it had in hand (see `settle.is_crash_loop`).
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Sequence
from typing import Final

from bus.bus import Bus
from bus.inspection import BackendState
from config.ids import new_id
from dispatcher.backends.base import Backend
from dispatcher.lots import Ground
from dispatcher.pauses import sleep_or_stop
from dispatcher.tally import Tally
from dispatcher.worker import Pace, Worker

_HEALTHY_S: Final = 60.0  # a worker that lived so long starts its backoff anew

_logger = logging.getLogger(__name__)


class Fleet:
    def __init__(self, backends: Sequence[Backend], bus: Bus, pace: Pace, ground: Ground | None = None) -> None:
        self._backends = backends
        self._bus = bus
        self._pace = pace
        self._ground = ground
        self._workers: dict[str, Worker] = {}
        self._tallies = {backend.name: Tally() for backend in backends}
        self._states = {name: tally.state(name, "starting") for name, tally in self._tallies.items()}

    def states(self) -> tuple[BackendState, ...]:
        running = {name: worker.state() for name, worker in self._workers.items()}
        return tuple({**self._states, **running}.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set and every worker has handed over."""
        async with asyncio.TaskGroup() as tasks:
            for backend in self._backends:
                tasks.create_task(self._keep_running(backend, stop), name=f"worker {backend.name}")

    async def _keep_running(self, backend: Backend, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        crashes = 0
        while not stop.is_set():
            started = loop.time()
            crash = await self._run_once(backend, stop)
            if crash is None:
                break
            crashes = 1 if loop.time() - started > _HEALTHY_S else crashes + 1
            self._states[backend.name] = self._tallies[backend.name].state(backend.name, "restarting", crashes, crash)
            await sleep_or_stop(self._pace.backoff.delay_ms(crashes, random.random()), stop)
        self._states[backend.name] = self._tallies[backend.name].state(backend.name, "stopped")

    async def _run_once(self, backend: Backend, stop: asyncio.Event) -> str | None:
        """Why the worker crashed; None when it ended because it was told to."""
        tally = self._tallies[backend.name]
        worker = Worker(backend, self._bus, consumer_name(backend.name), self._pace, stop, tally, self._ground)
        self._workers[backend.name] = worker
        try:
            await worker.run()
        except Exception as error:
            fields = {"backend": backend.name}
            _logger.error("a worker crashed and is started again", exc_info=error, extra={"fields": fields})
            return repr(error)
        finally:
            del self._workers[backend.name]
        return None


def consumer_name(backend: str) -> str:
    """Never used twice: a restarted worker must not be taken for the dead one."""
    return f"{backend}@{socket.gethostname()}:{os.getpid()}:{new_id()}"
