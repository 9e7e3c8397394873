"""One parking lot: events of one backend on disk, in the spool's own segments, written and read back in order.

    <root>/<uuid>/LOCK    held: its dispatcher lives; free: another one may adopt it
                  *.seg   events, numbered from 0; a rotten one is a hole, and keeps its number
                  CURSOR  all below are settled: where a bus that has lost everything is to begin again

Only the dispatcher that made a lot writes to it; who adopts it cuts the torn tail and reads. Blocking.
"""

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from bus.bus import Delivery
from bus.errors import SpoolFull
from bus.frames import Kind, seed_of
from bus.journal import Journal
from bus.lots import LotMarks, LotPlace, Parked
from bus.ownership import make_folder, set_aside
from bus.quota import Quota
from bus.reader import SpoolReader
from bus.segments import SegmentReader, cut_torn_tail, list_segments, segment_name
from bus.slots import Slots

CURSOR: Final = "CURSOR"
_SEGMENTS: Final = 16  # of the bound, at least: room comes back a segment at a time
_SEGMENT_BYTES: Final = 32 * 1024**2
_LOOK_S: Final = 0.1  # how often room is looked for when there was none
_MEASURE_S: Final = 1.0
_NO_EVENT: Final = bytes(16)


class Cursor(Struct):
    settled: int = 0


class Lot:
    def __init__(
        self,
        lot: bytes,
        folder: Path,
        lock: int,
        holds: int,
        journal: Journal | None = None,
        quota: Quota | None = None,
    ) -> None:
        """Raises OSError."""
        self.id = lot
        self.holds, self.next = holds, 0
        self._folder, self._lock, self._journal, self._quota = folder, lock, journal, quota
        self._cursor = Slots.open(folder / CURSOR, Cursor)
        self.settled = min(holds, (self._cursor.read() or Cursor()).settled)
        self._reader = SpoolReader(folder, lot, patience_s=0.0)  # what is synced and not there is a hole at once
        self._ahead: deque[Parked] = deque()
        self._go_to(self.settled)

    @classmethod
    def make(cls, root: Path, max_bytes: int) -> Self:
        """Raises SpoolUnusable, OSError."""
        lot, folder, lock = make_folder(root)
        segment_bytes = min(_SEGMENT_BYTES, max_bytes // _SEGMENTS)
        quota = Quota(root, max_bytes)
        journal = Journal(folder, lot, segment_bytes=segment_bytes, quota=quota)
        try:
            return cls(lot, folder, lock, 0, journal, quota)
        except OSError:
            journal.close()
            os.close(lock)
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @classmethod
    def adopt(cls, lot: bytes, folder: Path, lock: int) -> Self:
        """Of a dispatcher that is gone. Raises OSError."""
        if segments := list_segments(folder):
            cut_torn_tail(folder, segments[-1], seed_of(lot))
        return cls(lot, folder, lock, _end_of(folder, segments, seed_of(lot)))

    @property
    def place(self) -> LotPlace:
        return LotPlace(self.holds, self.settled, self.next)

    @property
    def left(self) -> int:
        """Events that are not given back yet."""
        return self.holds - self.next

    @property
    def is_settled(self) -> bool:
        return self.settled >= self.holds

    @property
    def is_writable(self) -> bool:
        return self._journal is not None

    @property
    def full_because(self) -> str:
        return self._journal.full_because if self._journal else ""

    def has_room(self) -> bool:
        """False from the first event that found none until a segment's room is there again."""
        if not self._journal or not self._quota:
            return True
        is_full = bool(self._journal.full_because)
        self._quota.measure_if_old(_LOOK_S if is_full else _MEASURE_S)
        if not is_full:
            return True
        with contextlib.suppress(SpoolFull):
            self._journal.grow()
        return not self._journal.full_because

    def append(self, deliveries: Sequence[Delivery]) -> int:
        """How many of them, from the first on, are on disk now; the others are to stay on the bus."""
        if self._journal is None:
            return 0
        written = 0
        with contextlib.suppress(SpoolFull):
            for delivery in deliveries:
                self._journal.finished(delivery.event_id, delivery.payload, time.time_ns() // 1_000_000)
                written += 1
        if not written or not self._journal.sync():
            return 0
        self.holds = self._journal.recorded
        return written

    def peek(self, count: int, max_bytes: int) -> list[Parked]:
        """The next events that are not given back, from `next` on. Raises OSError, Undecodable."""
        size = sum(len(event.payload) for event in self._ahead)
        while len(self._ahead) < min(count, self.left) and (size < max_bytes or not self._ahead):
            event = self._read()
            self._ahead.append(event)
            size += len(event.payload)
        return list(self._ahead)[:count]

    def note(self, marks: LotMarks) -> None:
        """What the bus has now: goes on behind it, or back when the bus has lost some. Raises OSError."""
        self.holds = max(self.holds, marks.counted)
        while self._ahead and self.next < marks.returned:
            self._ahead.popleft()
            self.next += 1
        if self.next != marks.returned:
            self._go_to(marks.returned)
        if marks.settled > self.settled:
            self.settled = marks.settled
            self._cursor.write(Cursor(self.settled), durable=False)
            for index in self._reader.removable(self.settled - 1):
                (self._folder / segment_name(index)).unlink(missing_ok=True)

    def seal(self) -> None:
        """Nothing more is written here."""
        if self._journal:
            self._journal.close()
            self._journal = None

    def close(self) -> None:
        """Whoever wants may adopt it."""
        self.seal()
        self._reader.close()
        self._cursor.close()
        os.close(self._lock)

    def remove(self) -> None:
        """Raises OSError."""
        gone = set_aside(self._folder)
        self.close()
        shutil.rmtree(gone, ignore_errors=True)

    def _go_to(self, number: int) -> None:
        self._ahead.clear()
        self._reader.seek(number)
        self.next = number

    def _read(self) -> Parked:
        item = self._reader.next(is_dead=self._journal is None)
        if item is None and self._journal:  # damage in the segment that is being written
            self.seal()
            item = self._reader.next(is_dead=True)
        if item is None or item.frame is None:
            if item is None:  # at the end: what damage took there left no trace
                self._reader.next_seq += 1
            return Parked(_NO_EVENT, b"", 0)
        return Parked(item.frame.event_id, item.frame.payload, item.frame.ts_ms)


def _end_of(folder: Path, segments: Sequence[int], seed: int) -> int:
    """One above the last number. A segment's HEAD tells it too, and the segments before need not be read."""
    for index in reversed(segments):
        reader, at, end = SegmentReader(folder, index, seed), 0, None
        try:
            while (found := reader.read(at, is_sealed=True)).used:
                at += found.used
                for frame in found.frames:
                    end = frame.seq + (frame.kind == Kind.FINISHED)
        finally:
            reader.close()
        if end is not None:
            return end
    return 0
