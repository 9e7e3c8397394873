"""One spool as the relay follows it: what to append next, how far the bus is, what may be deleted.

    open: epoch + 1, on disk ──► ask the bus ──► rewind(its high water) ──► read, append, read, append ...
    the worker dies: its LOCK is free ──► after the last frame come the open exchanges as `interrupted` events,
    in the order of their ids and with seqs from a number that is on disk first: a repetition appends the same again

Blocking; for one thread at a time.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import zstandard
from msgspec import Struct, field

from bus.bus import Entry
from bus.checkpoint import CHECKPOINT, COUNTS, Checkpoint, Counts
from bus.codec import decode_began, encode
from bus.errors import Undecodable
from bus.frames import Codec, Frame, seed_of
from bus.ownership import LOCK, take
from bus.reader import SpoolReader
from bus.segments import cut_torn_tail, list_segments, segment_name, sync_folder, sync_segments
from bus.slots import Slots

HOLE: Final = b""  # payload of an entry that only takes up its seq


class Batch(Struct):
    first_seq: int
    entries: list[Entry] = field(default_factory=list)
    bytes: int = 0
    written_at_ms: int = 0
    """When the worker wrote the first of them; 0 when no frame is among them."""
    is_full: bool = False
    """No more fitted in: there is likely more."""


class Tail:
    def __init__(self, folder: Path, spool: bytes, *, patience_s: float) -> None:
        """Takes the next epoch and makes it durable. Raises OSError."""
        self.folder, self.spool = folder, spool
        self.is_dead = False
        """The worker is gone, and its lock is ours."""
        self.is_asked = False
        """The bus has told its high water and no answer has been missed since."""
        self.stopped_because = ""
        self.waiting_since_ms = 0
        """When the oldest event that is read but not in the bus was written; 0 for none."""
        self.retry_at = 0.0
        self._lock_fd = -1
        self._reader = SpoolReader(folder, spool, patience_s=patience_s)
        self._made: list[Entry] | None = None
        self._was_known = True
        self._next_seq = 0
        self._held: Entry | None = None
        self.counts = Counts()
        self.point = Checkpoint()
        self._slots = Slots.open(folder / CHECKPOINT, Checkpoint)
        try:
            self._counts = Slots.open(folder / COUNTS, Counts)
        except OSError:
            self._slots.close()
            raise
        try:
            self._open()
        except OSError:
            self.close()
            raise

    def _open(self) -> None:
        known = self._slots.read()
        self._was_known = known is not None
        self.point = known or self.point
        self.take_epoch(self.point.epoch)
        self.adopt_if_free()

    def take_epoch(self, above: int) -> None:
        self.point.epoch = above + 1
        self._slots.write(self.point, durable=True)

    def may_take_over(self) -> bool:
        """Whether FENCED may only mean that our checkpoint was lost: at the first question, when we had none."""
        return not self._was_known

    def adopt_if_free(self) -> None:
        """Looks whether the worker has died; then what it tore or allocated in vain is cut off."""
        if self.is_dead:
            return
        held = take(self.folder / LOCK)
        if held is None:
            return
        self._lock_fd, self.is_dead = held, True
        with contextlib.suppress(OSError):  # it is only tidiness: the reader steps over all of that
            for index in list_segments(self.folder)[-1:]:
                cut_torn_tail(self.folder, index, seed_of(self.spool))

    def rewind(self, high_water: int) -> None:
        """The bus holds the spool up to `high_water`: go on behind it."""
        self._reader.seek(high_water + 1)
        self._next_seq, self._held, self._made = high_water + 1, None, None
        self.point.high_water = high_water
        self.is_asked = self._was_known = True

    def read(self, max_entries: int, max_bytes: int) -> Batch | None:
        """What comes next, also behind what has been read but not yet been appended; None for nothing (yet).

        Raises OSError and Undecodable.
        """
        self.adopt_if_free()
        batch = Batch(self._next_seq)
        lost: list[int] = []
        while len(batch.entries) < max_entries:
            entry = self._held or self._next_entry(batch, lost)
            self._held = None
            if entry is None:
                break
            if batch.entries and batch.bytes + len(entry.payload) > max_bytes:
                self._held, batch.is_full = entry, True
                break
            batch.entries.append(entry)
            batch.bytes += len(entry.payload)
        batch.is_full |= len(batch.entries) == max_entries
        self._next_seq += len(batch.entries)
        self._count_lost(lost)
        return batch if batch.entries else None

    def appended(self, high_water: int) -> None:
        self.point.high_water = high_water

    def is_drained(self) -> bool:
        """The worker is dead, and all there will ever be is in the bus."""
        return (
            self.is_dead and self._made is not None and self._held is None and self._last_seq() <= self.point.high_water
        )

    def keep_point(self) -> None:
        """Both files, without haste: the bus knows the high water better."""
        self.counts = self._counts.read() or self.counts
        self._slots.write(self.point, durable=False)

    def has_released(self, through: int) -> bool:
        """Whether anything could be deleted if all up to `through` were delivered."""
        return self.is_drained() or bool(self._reader.removable(through))

    def unlink_through(self, seq: int) -> int:
        """Deletes segments that hold nothing above `seq`; returns how many. Raises OSError."""
        removable = self._reader.removable(seq)
        if removable:
            self.point.first_segment = removable[-1] + 1
            self._slots.write(self.point, durable=True)
            sync_folder(self.folder)
            for index in removable:
                (self.folder / segment_name(index)).unlink(missing_ok=True)
        return len(removable)

    def count_left(self) -> int:
        """Events of this spool that are not in the bus, `interrupted` ones to be made included."""
        reader = SpoolReader(self.folder, self.spool, patience_s=0)
        reader.seek(self.point.high_water + 1)
        try:
            with contextlib.suppress(Undecodable):
                while reader.next(is_dead=self.is_dead):
                    pass
            to_make = len(reader.open) if self.is_dead else 0
        finally:
            reader.close()
        behind = reader.next_seq if self.point.interrupted_from < 0 else self.point.interrupted_from
        return max(0, behind + to_make - 1 - self.point.high_water)

    def close(self) -> None:
        self._reader.close()
        self._slots.close()
        self._counts.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)

    def _next_entry(self, batch: Batch, lost: list[int]) -> Entry | None:
        seq = self._next_seq + len(batch.entries)
        try:
            item = None if self._reader.is_at_end else self._reader.next(is_dead=self.is_dead)
        except Undecodable:
            if batch.entries:
                return None
            raise
        if item is None:
            return self._next_made(seq, lost) if self._reader.is_at_end else None
        entry = _entry(item.frame) if item.frame else None
        if item.frame and not batch.written_at_ms:
            batch.written_at_ms = item.frame.ts_ms
        if entry is None:
            lost.append(seq)
            return Entry(bytes(16), HOLE)
        return entry

    def _next_made(self, seq: int, lost: list[int]) -> Entry | None:
        if self._made is None:
            self._made = self._make()
        place = seq - self.point.interrupted_from
        if place < 0:
            lost.append(seq)
            return Entry(bytes(16), HOLE)
        return self._made[place] if place < len(self._made) else None

    def _make(self) -> list[Entry]:
        """The `interrupted` events. Their seqs are decided once and for all, so what they are made of must stay."""
        began = [self._reader.open[event_id] for event_id in sorted(self._reader.open)]
        if self.point.interrupted_from < 0:
            sync_segments(self.folder)
            self.point.interrupted_from = self._reader.next_seq  # never below the bus's high water + 1
            self.point.interrupted = len(began)
            self._slots.write(self.point, durable=True)
        return [_interrupted(frame) for frame in began]

    def _last_seq(self) -> int:
        return self.point.interrupted_from + len(self._made or ()) - 1

    def _count_lost(self, lost: list[int]) -> None:
        """On disk before the hole is in the bus, and by seq, so that no loss is counted twice or never."""
        new = [seq for seq in lost if seq > self.point.lost_through]
        if not new:
            return
        gone = sum(seq < self._reader.oldest_seq for seq in new)
        self.point.unrecoverable += gone
        self.point.lost += len(new) - gone
        self.point.lost_through = new[-1]
        self._slots.write(self.point, durable=True)


def _entry(frame: Frame) -> Entry | None:
    if frame.codec == Codec.PLAIN:
        return Entry(frame.event_id, frame.payload)
    try:
        return Entry(frame.event_id, zstandard.decompress(frame.payload))
    except zstandard.ZstdError:
        return None


def _interrupted(frame: Frame) -> Entry:
    try:
        return Entry(frame.event_id, encode(decode_began(frame.payload).interrupted()))
    except Undecodable:
        return Entry(frame.event_id, HOLE)
