"""The worker's end of the event's way: `begin` at accept, `finish` before the last byte goes to the client.

    finish ──► encode ──► one pwrite into the active segment (record=os: recorded)  ──► flusher: fdatasync every sync_ms
                  └─ above 64 KiB: compress and write in a thread                        (record=disk waits for that)

When room ends (bus/staged.py): from 90 % on without bodies; at 100 % `drop` counts the loss durably and the call is
served, while `reject` has refused new exchanges from 95 % on. What is full is tried again by itself.
"""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from bus.checkpoint import CHECKPOINT, COUNTS, TOTALS, Checkpoint, Totals
from bus.codec import encode
from bus.errors import SpoolFull, SpoolUnusable
from bus.event import ExchangeBegan, ExchangeFinished
from bus.flusher import Flusher
from bus.journal import Journal
from bus.ownership import make_folder, unusable
from bus.quota import NO_NEW, Quota, spool_size
from bus.slots import Slots
from bus.staged import Losses, StagedWriter
from bus.unhurried import UnhurriedWriter
from bus.wake import Wake
from config.settings import RecordMode, WhenFull

INLINE_BYTES: Final = 64 * 1024  # a larger record would hold the loop for more than some tens of microseconds
_MIN_SEGMENT_BYTES: Final = 64 * 1024
_SEGMENTS_AT_LEAST: Final = 8  # within max_bytes, so that deleting one frees a fair part
_UNHURRIED_EVERY_S: Final = 0.005  # record=async: what a kill -9 may cost
_POKE_EVERY_S: Final = 0.02


class SpoolStats(Struct, frozen=True, kw_only=True):
    recorded: int
    dropped: int
    bodies_dropped: int
    bytes: int
    """Of this worker's segments, as allocated."""
    segments: int
    is_full: bool
    level: float = 0.0
    """Fill of all spools together, 0 to 1."""
    dropped_by: dict[str, int] = {}
    sync_errors: int = 0
    unconfirmed: int = 0
    """record=disk, when_full=drop: finished although the disk did not confirm."""


class Spool:
    def __init__(
        self,
        folder: Path,
        lock: int,
        journal: Journal,
        losses: Losses,
        quota: Quota,
        *,
        record: RecordMode,
        when_full: WhenFull,
        sync_ms: int,
        wake: Wake | None,
    ) -> None:
        """Made by `open`."""
        self.folder = folder
        self._lock_fd, self._journal, self._losses, self._quota, self._wake = lock, journal, losses, quota, wake
        self._record, self._when_full = record, when_full
        self._writer = StagedWriter(journal, losses)
        self._unhurried = UnhurriedWriter(self._writer, losses)
        self._unconfirmed = 0
        self._poked_at = 0.0
        self._is_poke_due = False
        self._is_closed = False
        self._large = ThreadPoolExecutor(2, thread_name_prefix="spool-large")
        every_s = _UNHURRIED_EVERY_S if record == "async" else sync_ms / 1000
        self._flusher = Flusher(journal, every_s=every_s, sync_s=sync_ms / 1000, each_round=self._each_round)

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        segment_bytes: int,
        max_bytes: int,
        record: RecordMode,
        when_full: WhenFull,
        sync_ms: int,
        wake: Wake | None,
    ) -> Self:
        """A new folder below `root`, its lock held until `close` or death. Raises SpoolUnusable.

        Without room for a first segment it opens all the same and is full.
        """
        spool, folder, lock = make_folder(root)
        try:
            losses = Losses(folder / COUNTS)
            for path, kind in ((folder / CHECKPOINT, Checkpoint), (root / TOTALS, Totals)):
                Slots.open(
                    path, kind
                ).close()  # allocated now, so that a full disk does not keep the relay from reading
            quota = Quota(root, max_bytes)
        except OSError as error:
            os.close(lock)
            raise unusable(root, error) from error
        segment_bytes = min(segment_bytes, max(_MIN_SEGMENT_BYTES, max_bytes // _SEGMENTS_AT_LEAST))
        journal = Journal(folder, spool, segment_bytes=segment_bytes, quota=quota)
        return cls(folder, lock, journal, losses, quota, record=record, when_full=when_full, sync_ms=sync_ms, wake=wake)

    def begin(self, event: ExchangeBegan) -> None:
        """Notes that an exchange is open, so that a death of this process makes an `interrupted` event of it.

        Raises SpoolFull when there is no room and `when_full` is `reject`; with `drop` the note is left out.
        """
        self._check_open()
        if self._when_full == "reject":
            self._reject_when_full()
        if self._record == "async":
            self._unhurried.put(event)
        else:
            try:
                self._writer.began(event)
            except SpoolFull:
                if self._when_full == "reject":
                    raise
        self._written()

    async def finish(self, event: ExchangeFinished) -> None:
        """Returns when the event is recorded in the sense of `record`, or counted as dropped.

        Records up to 64 KiB are written without yielding (unless `record` is `disk`). Raises SpoolUnusable after
        `close`, and with `reject` and `disk` when the disk did not confirm.
        """
        self._check_open()
        if self._record == "async":
            self._unhurried.put(event)
            self._written()
            return
        payload = encode(event)
        if len(payload) <= INLINE_BYTES:
            seq = self._writer.finished(event, payload)
        else:
            loop = asyncio.get_running_loop()
            seq = await loop.run_in_executor(self._large, self._writer.finished_large, event, payload)
        self._written()
        if self._record == "disk" and seq is not None:
            await self._confirm(seq)

    def stats(self) -> SpoolStats:
        segments, nbytes = spool_size(self.folder)
        counts = self._losses.counts
        return SpoolStats(
            recorded=self._journal.recorded,
            dropped=sum(counts.dropped.values()),
            bodies_dropped=counts.bodies_dropped,
            bytes=nbytes,
            segments=segments,
            is_full=bool(self._journal.full_because),
            level=self._journal.level(),
            dropped_by=dict(counts.dropped),
            sync_errors=self._journal.sync_errors,
            unconfirmed=self._unconfirmed,
        )

    def close(self) -> None:
        """Syncs, then leaves the folder to the relay. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._large.shutdown()
        self._flusher.stop()
        self._journal.close()
        self._losses.close()
        os.close(self._lock_fd)
        if self._wake:
            self._wake.poke()

    def _check_open(self) -> None:
        if self._is_closed:
            raise SpoolUnusable("the spool is closed")

    def _reject_when_full(self) -> None:
        if not self._journal.full_because and self._journal.level() < NO_NEW:
            return
        self._flusher.nudge()  # it measures anew
        self._journal.grow()
        if self._journal.level() >= NO_NEW:
            raise SpoolFull("spool_full")

    async def _confirm(self, seq: int) -> None:
        if await self._flusher.durable(seq):
            return
        if self._when_full == "reject":
            raise SpoolUnusable("the disk did not confirm the record")
        self._unconfirmed += 1

    def _written(self) -> None:
        """Tells the flusher, and the relay as often as it can look."""
        self._flusher.nudge()
        now = time.monotonic()
        if self._wake and now - self._poked_at >= _POKE_EVERY_S:
            self._poked_at = now
            self._wake.poke()
        else:
            self._is_poke_due = True

    def _each_round(self) -> None:
        """On the flusher's thread."""
        self._unhurried.flush()
        self._quota.measure_if_old(0.1 if self._journal.full_because else 1.0)
        if self._wake and (self._is_poke_due or self._record == "async"):
            self._is_poke_due = False
            self._wake.poke()
