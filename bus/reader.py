"""Reads one spool in the order of seq, over the borders of segments, while its worker may still be writing.

    segments   0: HEAD 0, 0..99   1: HEAD 100, 100..150 (fsync refused)   2: HEAD 100, 100..160
    read       0..99 from 0, then 100..160 from 2: a later HEAD takes over from its seq on

A seq that is nowhere is a hole: damage took its frame. While the worker lives it may still have the frame in memory and
write it anew, so a hole is believed only after `patience_s`. Blocking; for one thread at a time.
"""

import time
from collections import deque
from pathlib import Path
from typing import Final

from msgspec import Struct

from bus.errors import Undecodable
from bus.frames import CLEAR, VERSION, Codec, Frame, Kind, seed_of
from bus.segments import SegmentReader, list_segments

_ENDLESS: Final = 2**63
_KINDS: Final = frozenset(Kind)
_HEAD, _BEGAN, _FINISHED = int(Kind.HEAD), int(Kind.BEGAN), int(Kind.FINISHED)  # compared for each frame
_CODECS: Final = frozenset(Codec)


class Item(Struct, frozen=True, gc=False):
    seq: int
    frame: Frame | None
    """None: a hole."""


class SpoolReader:
    def __init__(self, folder: Path, spool: bytes, *, patience_s: float) -> None:
        self.next_seq = 0
        self.open: dict[bytes, Frame] = {}
        """BEGAN frames whose exchange has not ended, as of the place read so far."""
        self.is_at_end = False
        """All of a dead worker's spool has been read."""
        self.oldest_seq = 0
        """First seq that the segments still held when `seek` was called."""
        self.damaged = 0
        self._folder, self._seed = folder, seed_of(spool)
        self._segments: list[int] = []
        self._bases: dict[int, int | None] = {}
        self._limits: dict[int, int] = {}
        self._frames: deque[tuple[int, Frame]] = deque()
        self._hole_to = 0
        self._patience_s = patience_s
        self._doubts_since: float | None = None
        self._current: SegmentReader | None = None
        self._offset = 0
        self._start = 0

    def seek(self, seq: int) -> None:
        """`next` goes on with `seq`. Raises OSError."""
        self.close()
        self._frames.clear()
        self.open.clear()
        self.next_seq, self._hole_to, self.is_at_end, self._offset = seq, seq, False, 0
        self._look()
        known = [(index, base) for index in self._segments if (base := self._bases[index]) is not None]
        self.oldest_seq = min((base for _, base in known), default=0)
        fitting = [index for index, base in known if base <= seq]
        self._start = fitting[-1] if fitting else min(self._segments, default=0)

    def next(self, *, is_dead: bool) -> Item | None:
        """The next FINISHED frame or hole; None when there is none (yet).

        Raises OSError, and Undecodable at a frame that a newer program has written; it stays the next one.
        """
        while True:
            if self.next_seq < self._hole_to:
                return self._take(None)
            if not self._frames:
                if self._fill(is_dead):
                    continue
                return None
            index, frame = self._frames[0]
            if not (
                frame.version == VERSION and frame.kind in _KINDS and frame.codec in _CODECS and frame.key_id == CLEAR
            ):
                raise _unknown(frame)
            limit = self._limits.get(index, _ENDLESS)
            seq = frame.seq if frame.seq < limit else limit
            if self.next_seq < seq:
                if self._is_lost(is_dead):
                    self._hole_to = seq
                elif not self._look():
                    return None
                continue
            self._frames.popleft()
            if self._note(frame) and self.next_seq == frame.seq < limit:
                return self._take(frame)

    def removable(self, through: int) -> list[int]:
        """Segments all of whose frames up to `through` are all that is asked of them. Never the last one."""
        found = []
        for index in self._segments:
            if index >= self._position() or self._limits.get(index, _ENDLESS) - 1 > through:
                break
            found.append(index)
        return found

    def close(self) -> None:
        if self._current:
            self._current.close()
            self._current = None

    def _is_lost(self, is_dead: bool) -> bool:
        """Whether the next seq will not come any more, now that a later one is there."""
        if is_dead or self.next_seq < self.oldest_seq:
            return True
        self._doubts_since = self._doubts_since or time.monotonic()
        return time.monotonic() - self._doubts_since >= self._patience_s

    def _take(self, frame: Frame | None) -> Item:
        self._doubts_since = None
        self.next_seq += 1
        return Item(self.next_seq - 1, frame)

    def _note(self, frame: Frame) -> bool:
        """Keeps the list of open exchanges; whether the frame is one for the bus."""
        kind = frame.kind
        if kind == _BEGAN:
            self.open[frame.event_id] = frame
        elif kind == _HEAD:
            self.open.clear()
        else:
            self.open.pop(frame.event_id, None)
        return kind == _FINISHED

    def _position(self) -> int:
        return self._current.index if self._current else self._start

    def _fill(self, is_dead: bool) -> bool:
        """Reads on; whether there may be more. Looks for later segments before it reads: they seal the current one."""
        self._look()
        later = [index for index in self._segments if index > self._position()]
        if self._current is None:
            at = next((index for index in self._segments if index >= self._start), None)
            if at is None:
                self.is_at_end = is_dead
                return False
            self._current, self._offset = SegmentReader(self._folder, at, self._seed), 0
            return True
        found = self._current.read(self._offset, is_sealed=is_dead or bool(later))
        self._offset += found.used
        self.damaged += found.damaged
        self._frames.extend((self._current.index, frame) for frame in found.frames)
        if not found.used and later:
            self.close()
            self._start = later[0]
        else:
            self.is_at_end = is_dead and not found.used
        return bool(found.used or later)

    def _look(self) -> bool:
        """Whether segments have come or gone."""
        segments = list_segments(self._folder)
        if segments == self._segments:
            return False
        self._segments = segments
        self._bases = {index: self._bases[index] if index in self._bases else self._base(index) for index in segments}
        limit = _ENDLESS
        for index in reversed(segments):
            self._limits[index] = limit
            base = self._bases[index]
            limit = limit if base is None else min(limit, base)
        return True

    def _base(self, index: int) -> int | None:
        """Where a segment takes over; None when its HEAD is damaged."""
        reader = SegmentReader(self._folder, index, self._seed)
        try:
            head = reader.head()
        finally:
            reader.close()
        return head.seq if head else None


def _unknown(frame: Frame) -> Undecodable:
    return Undecodable(
        f"a frame of version {frame.version}, kind {frame.kind}, codec {frame.codec}, key {frame.key_id}: "
        "written by a newer program, which has to read it too"
    )
