"""Moves what workers recorded from their spools to the bus: the only reader of spools, one process per DATA_DIR.

    for each spool: ask the bus for its high water ──► read <= 100 frames ──► append(spool, epoch, first seq, frames)
        OK: go on      GAP: the bus lost some, rewind      FENCED: a newer relay owns it, stop
        unavailable: the outcome is unknown; wait with jitter, ask again, go on from the answer

Once a second: what `retain` no longer needs is deleted, and spools of dead workers that are done are retired.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, Self, TypeVar

from bus.bus import AppendResult, AppendStatus, Bus
from bus.checkpoint import Totals
from bus.errors import BusUnavailable, Undecodable
from bus.pacing import Pacing, Progress
from bus.read_ahead import ReadAhead, Reading
from bus.relay_stats import RelayStats, stats_of
from bus.spool_root import SpoolRoot
from bus.tail import Batch, Tail
from bus.wake import WakeListener
from config import paths
from config.logs import log
from config.settings import Retain, Settings

_POLL_MS: Final = 500  # how often it looks without being woken
_BATCHES_IN_A_ROW: Final = 8  # of one spool, before the next spool has its turn
_UNREADABLE_S: Final = 1.0  # before a spool is tried again that gave an I/O error
_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Relay:
    def __init__(
        self,
        root: Path,
        bus: Bus,
        *,
        retain: Retain,
        poll_ms: int,
        max_batch: int = 100,
        max_batch_bytes: int = 1024**2,
        upkeep_ms: int = 1000,
        linger_ms: int = 0,
        backoff_ms: int = 50,
        backoff_max_ms: int = 1500,
        patience_ms: int = 30_000,
        wake: WakeListener | None = None,
    ) -> None:
        self._root, self._bus, self._retain = root, bus, retain
        self._pacing = Pacing(
            poll_ms=poll_ms, linger_ms=linger_ms, backoff_ms=backoff_ms, backoff_max_ms=backoff_max_ms, wake=wake
        )
        self._max_batch, self._max_batch_bytes = max_batch, max_batch_bytes
        self._upkeep_s, self._patience_s = upkeep_ms / 1000, patience_ms / 1000
        self._spools: SpoolRoot | None = None
        self._tails: dict[bytes, Tail] = {}
        self._turn = asyncio.Lock()
        # One thread: a cancelled read ends before the next.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="relay-disk")
        self._ahead = ReadAhead(self._begin_to_read)
        self._kept_up_at = 0.0
        self._appended = self._rewinds = self._bus_errors = 0

    @classmethod
    def of(cls, settings: Settings, bus: Bus, wake: WakeListener) -> Self:
        """The one of this host."""
        return cls(
            paths.spool_root(settings),
            bus,
            retain=settings.spool_retain,
            poll_ms=_POLL_MS,
            max_batch_bytes=settings.relay_batch_bytes,
            linger_ms=settings.relay_linger_ms,
            backoff_max_ms=settings.relay_backoff_max_ms,
            patience_ms=settings.relay_patience_ms,
            wake=wake,
        )

    async def run(self) -> None:
        """Until cancelled. Raises BusError when another relay works on the same folder, OSError when it is unusable."""
        while True:
            await self._pacing.rest(await self._step())

    async def drain(self, deadline_s: float) -> int:
        """Appends all that is there, waiting for the bus if need be; returns how many events are left in the spools.

        Not beside `run`: cancel that first.
        """
        until = time.monotonic() + deadline_s
        while True:
            has_moved = await self._step_until(until)
            if time.monotonic() >= until:
                return await self._on_disk(self._count_left)
            if has_moved:
                continue
            if not await self._on_disk(self._count_left):
                await self._step_until(until, upkeep=True)
                return 0
            pause_s = self._pacing.pause_s or self._pacing.poll_s
            await asyncio.sleep(min(pause_s, max(0.0, until - time.monotonic())))

    async def _step_until(self, until: float, *, upkeep: bool = False) -> Progress:
        """A turn that is given up at that time: a bus that does not answer must not hold up a stop."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await self._step(upkeep=upkeep)
        except TimeoutError:
            return Progress.NONE

    def stats(self) -> RelayStats:
        """Touches the disk, but little."""
        return stats_of(
            self._spools.copy_of_totals() if self._spools else Totals(),
            list(self._tails.values()),
            is_bus_away=self._pacing.pause_s > 0,
            appended=self._appended,
            rewinds=self._rewinds,
            bus_errors=self._bus_errors,
        )

    def close(self) -> None:
        """Lets go of all locks. The next relay finds all as it is."""
        self._disk.shutdown()
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()
        if self._spools:
            self._spools.close()
            self._spools = None

    async def _step(self, *, upkeep: bool = False) -> Progress:
        """One turn over all spools; NONE when nothing came to the bus."""
        async with self._turn:
            try:
                spools = await self._on_disk(self._find)
                progress = [await self._pump(tail) for tail in list(self._tails.values())]
                if upkeep or time.monotonic() - self._kept_up_at >= self._upkeep_s:
                    await self._keep_up(spools)
            except BusUnavailable as error:
                self._note_absence(error)
                return Progress.NONE
            self._pacing.bus_is_back()
            return max(progress, default=Progress.NONE)

    def _find(self) -> SpoolRoot:
        """Takes hold of the root and of new spools; kept here at once, since a cancel loses what a thread returns."""
        if self._spools is None:
            self._spools = SpoolRoot(self._root, patience_s=self._patience_s)
        for tail in self._spools.new_tails(self._tails):
            self._tails[tail.spool] = tail
        return self._spools

    async def _pump(self, tail: Tail) -> Progress:
        """Some batches of one spool, as long as they are full."""
        progress = Progress.NONE
        try:
            for _ in range(_BATCHES_IN_A_ROW):
                if tail.stopped_because or time.monotonic() < tail.retry_at:
                    break
                latest = await self._move(tail)
                progress = latest or progress
                if latest is not Progress.BEHIND:
                    break
        except Undecodable as error:
            self._stop(tail, str(error))
        except OSError as error:
            self._put_off(tail, error)
        return progress

    async def _move(self, tail: Tail) -> Progress:
        """One batch. Whatever ends it early, a cancel too, leaves the outcome unknown: then the bus is asked again."""
        try:
            if not tail.is_asked and not await self._ask(tail):
                return Progress.NONE
            batch = await self._ahead.next(tail)
            if batch is None:
                return Progress.NONE
            if batch.is_full:
                self._ahead.begin(tail)
            tail.waiting_since_ms = tail.waiting_since_ms or batch.written_at_ms
            result = await self._bus.append(tail.spool, tail.point.epoch, batch.first_seq, batch.entries)
        except BaseException:
            tail.is_asked = False
            raise
        return await self._settle(tail, batch, result)

    async def _ask(self, tail: Tail) -> bool:
        """Learns the bus's high water and goes there; False when the spool is not ours."""
        result = await self._question(tail)
        if result.status is AppendStatus.FENCED and tail.may_take_over():
            await self._on_disk(tail.take_epoch, result.epoch)
            result = await self._question(tail)
        if result.status is AppendStatus.FENCED:
            self._stop(tail, f"fenced: epoch {result.epoch} owns it")
            return False
        self._rewinds += result.status is AppendStatus.GAP
        await self._rewind(tail, result.high_water)
        tail.waiting_since_ms = 0
        return True

    async def _question(self, tail: Tail) -> AppendResult:
        return await self._bus.append(tail.spool, tail.point.epoch, tail.point.high_water + 1, [])

    async def _rewind(self, tail: Tail, high_water: int) -> None:
        self._ahead.forget(tail)
        await self._on_disk(tail.rewind, high_water)

    async def _settle(self, tail: Tail, batch: Batch, result: AppendResult) -> Progress:
        if result.status is AppendStatus.FENCED:
            self._stop(tail, f"fenced: epoch {result.epoch} owns it")
            return Progress.NONE
        if result.status is AppendStatus.GAP:
            self._rewinds += 1
            log(
                _logger,
                logging.WARNING,
                "the bus lost events, sending them again",
                spool=tail.folder.name,
                high_water=result.high_water,
            )
            await self._rewind(tail, result.high_water)
            return Progress.BEHIND
        tail.appended(result.high_water)
        tail.waiting_since_ms = 0
        tail.is_asked = result.high_water >= batch.first_seq + len(batch.entries) - 1
        self._appended += result.added
        return Progress.BEHIND if batch.is_full else Progress.CAUGHT_UP

    async def _keep_up(self, spools: SpoolRoot) -> None:
        self._kept_up_at = time.monotonic()
        await self._on_disk(spools.tidy)
        for tail in list(self._tails.values()):
            try:
                await self._on_disk(tail.keep_point)
                if tail.is_asked and not tail.stopped_because:
                    await self._release(spools, tail)
            except OSError as error:
                self._put_off(tail, error)
        for spool, folder in (await self._on_disk(spools.left_aside)).items():
            await self._bus.retire(spool)
            await self._on_disk(spools.delete, folder)

    async def _release(self, spools: SpoolRoot, tail: Tail) -> None:
        """Deletes what is not needed any more, after a look whether the bus still has what it had."""
        result = await self._question(tail)
        tail.is_asked = result.status is AppendStatus.OK and result.high_water == tail.point.high_water
        if not tail.is_asked or not tail.has_released(tail.point.high_water):
            return
        through = tail.point.high_water
        if self._retain == "delivered":
            through = min(through, await self._bus.delivered_through(tail.spool))
        if tail.is_drained() and through == tail.point.high_water:
            self._ahead.forget(tail)
            del self._tails[tail.spool]
            await self._on_disk(spools.set_aside, tail)
        else:
            await self._on_disk(tail.unlink_through, through)

    def _begin_to_read(self, tail: Tail) -> Reading:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._disk, tail.read, self._max_batch, self._max_batch_bytes)

    async def _on_disk(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, partial(act, *args, **kwargs))

    def _count_left(self) -> int:
        return sum(tail.count_left() for tail in self._tails.values())

    def _note_absence(self, error: BusUnavailable) -> None:
        if not self._pacing.pause_s:
            log(_logger, logging.WARNING, "the bus is away, spools keep what comes", error=str(error))
        self._bus_errors += 1
        self._pacing.bus_is_away()
        for tail in self._tails.values():
            tail.is_asked = False

    def _stop(self, tail: Tail, reason: str) -> None:
        tail.stopped_because = reason
        log(_logger, logging.ERROR, "a spool is not read any more", spool=tail.folder.name, reason=reason)

    def _put_off(self, tail: Tail, error: OSError) -> None:
        tail.is_asked = False
        tail.retry_at = time.monotonic() + _UNREADABLE_S
        log(_logger, logging.ERROR, "a spool cannot be read now", spool=tail.folder.name, error=str(error))
