"""The spool's own thread: syncs what was written, wakes those who wait for it, and does what must not run on the loop.

It sleeps until the first write after a pause, lets `sync_ms` of writes gather (or none, when somebody waits: then the
syscall itself does the gathering) and asleep again it costs nothing.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from bus.journal import Journal
from config.logs import log

_BACKOFF_MAX_S: Final = 5.0  # between syncs of a disk that refuses them; each try takes a new segment
_logger = logging.getLogger(__name__)


class _Waiter(Struct, eq=False):
    seq: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[bool]


class Flusher:
    def __init__(self, journal: Journal, *, every_s: float, sync_s: float, each_round: Callable[[], None]) -> None:
        """A round every `every_s` while there are writes, with a sync in it when the last is `sync_s` ago."""
        self._journal = journal
        self._every_s, self._sync_s, self._each_round = every_s, sync_s, each_round
        self._nudged, self._hurry = threading.Event(), threading.Event()
        self._waiters: list[_Waiter] = []
        self._lock = threading.Lock()
        self._is_stopping = False
        self._backoff_s = 0.0
        self._synced_at = 0.0
        self._thread = threading.Thread(target=self._run, name="spool-flusher", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """There is something to sync."""
        if not self._nudged.is_set():
            self._nudged.set()

    async def durable(self, seq: int) -> bool:
        """Whether the frame has come to lie on disk; waits for the sync that decides it."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(seq, loop, loop.create_future())
        with self._lock:
            self._waiters.append(waiter)
        self._nudged.set()
        self._hurry.set()
        return await waiter.done

    def stop(self) -> None:
        """One last round, then the thread ends."""
        self._is_stopping = True
        self._nudged.set()
        self._hurry.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopping:
            self._nudged.wait()
            self._hurry.wait(self._every_s)
            self._nudged.clear()
            self._hurry.clear()
            self._round()
            if self._backoff_s and not self._is_stopping:
                time.sleep(self._backoff_s)
        self._round()

    def _round(self) -> None:
        with self._lock:
            waiters, self._waiters = self._waiters, []
        try:
            self._each_round()
        except OSError as error:
            log(_logger, logging.ERROR, "the spool's folder cannot be looked at", error=str(error))
        if not waiters and not self._is_stopping and self._is_too_early():
            self._nudged.set()
            return
        is_synced = self._journal.sync()
        self._synced_at = time.monotonic()
        self._pace(is_synced)
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # its loop has closed
                waiter.loop.call_soon_threadsafe(_settle, waiter.done, self._journal.synced_through >= waiter.seq)

    def _is_too_early(self) -> bool:
        """Half a round of tolerance, so that a timer that fires a little early does not double the pause."""
        return time.monotonic() - self._synced_at < self._sync_s - self._every_s / 2

    def _pace(self, is_synced: bool) -> None:
        if is_synced:
            self._backoff_s = 0.0
            return
        self._nudged.set()
        self._backoff_s = min(_BACKOFF_MAX_S, self._backoff_s * 2 or 0.1)
        log(_logger, logging.ERROR, "the disk refuses to sync the spool", errors=self._journal.sync_errors)


def _settle(done: "asyncio.Future[bool]", is_durable: bool) -> None:
    if not done.done():
        done.set_result(is_durable)
