"""The chain of segments of one spool, as its only writer sees it. Safe for threads.

At each rotation the new segment begins with HEAD and the BEGAN frames of all exchanges that are still open, so that
older segments may be deleted as soon as their FINISHED frames have gone. What has not been synced is kept in memory:
after a failed fsync nobody knows what is on disk, so the segment is given up and these frames are written anew.
"""

import contextlib
import errno
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

from bus.errors import SpoolFull
from bus.frames import MAX_PAYLOAD_BYTES, Kind, pack, seed_of
from bus.quota import Quota
from bus.segments import Segment

_RETRY_S: Final = 0.05  # between two tries to get a segment, so that a full disk does not cost a syscall per event
_RESERVE: Final = 64  # one 64th of a segment is kept for DROPPED frames
_KEEP_BYTES: Final = 64 * 1024**2  # of frames not synced yet; a disk that hangs longer than this lasts is only trusted


class Journal:
    def __init__(self, folder: Path, spool: bytes, *, segment_bytes: int, quota: Quota) -> None:
        self.synced_through = -1
        self.recorded = 0
        self.sync_errors = 0
        self.full_because = ""
        self._folder, self._spool, self._seed = folder, spool, seed_of(spool)
        self._segment_bytes, self._quota = segment_bytes, quota
        self._lock = threading.Lock()
        self._active: Segment | None = None
        self._next_index = 0
        self._next_seq = 0
        self._retry_at = 0.0
        self._open: dict[bytes, bytes] = {}
        self._unsynced: deque[tuple[int, bytes]] = deque()
        self._unsynced_bytes = 0
        self._to_sync: list[Segment] = []
        self._is_dirty = False
        self._is_suspect = False
        with contextlib.suppress(SpoolFull):
            self._rotate(0)

    def level(self) -> float:
        """How full all spools together are, from 0 to 1."""
        active = self._active
        return self._quota.level(active.size - active.used if active else 0)

    def began(self, event_id: bytes, payload: bytes, ts_ms: int) -> None:
        """Raises SpoolFull."""
        with self._lock:
            frame = pack(Kind.BEGAN, payload, seed=self._seed, seq=self._next_seq, event_id=event_id, ts_ms=ts_ms)
            self._append(frame, self._segment_bytes // _RESERVE)
            self._open[event_id] = frame

    def finished(self, event_id: bytes, payload: bytes, ts_ms: int, *, codec: int = 0, flags: int = 0) -> int:
        """Returns the seq. Raises SpoolFull."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise SpoolFull("too_large")
        with self._lock:
            seq = self._next_seq
            frame = pack(
                Kind.FINISHED,
                payload,
                seed=self._seed,
                seq=seq,
                event_id=event_id,
                ts_ms=ts_ms,
                codec=codec,
                flags=flags,
            )
            self._append(frame, self._segment_bytes // _RESERVE)
            self._next_seq += 1
            self.recorded += 1
            self._open.pop(event_id, None)
            self._keep(seq, frame)
            return seq

    def dropped(self, event_id: bytes, ts_ms: int) -> None:
        """Notes that an exchange ended whose record found no room, if at least the note finds some."""
        with self._lock:
            began = self._open.pop(event_id, None)
            frame = pack(Kind.DROPPED, b"", seed=self._seed, seq=self._next_seq, event_id=event_id, ts_ms=ts_ms)
            if began and self._active and self._active.has_room(len(frame)):
                with contextlib.suppress(OSError):
                    self._active.write(frame)

    def grow(self) -> None:
        """Another try to leave the state of being full. Raises SpoolFull."""
        with self._lock:
            if self.full_because:
                self._rotate(0)

    def sync(self) -> bool:
        """Whether all that was written before the call is on disk; tries twice. For one thread only."""
        return self._sync_once() or self._sync_once()

    def close(self) -> None:
        """Without a sync: call that before."""
        with self._lock:
            for segment in self._to_sync:
                segment.close()
            if self._active:
                with contextlib.suppress(OSError):
                    self._active.seal()
                self._active.close()
            self._to_sync, self._active = [], None

    def _append(self, frame: bytes, reserve: int) -> None:
        if self._active is None or not self._active.has_room(len(frame) + reserve):
            self._rotate(len(frame) + reserve)
        try:
            self._now_active().write(frame)
        except OSError:
            self._rotate(len(frame) + reserve)
            self._write_or_full(frame)
        self._is_dirty = True

    def _write_or_full(self, frame: bytes) -> None:
        try:
            self._now_active().write(frame)
        except OSError as error:
            raise self._full(_reason(error)) from error

    def _now_active(self) -> Segment:
        if self._active is None:
            raise self._full(self.full_because)
        return self._active

    def _rotate(self, room: int) -> None:
        """Puts a new segment behind the active one, with `room` free in it. Raises SpoolFull and changes nothing."""
        if self.full_because and time.monotonic() < self._retry_at:
            raise SpoolFull(self.full_because)
        frames = self._first_frames()
        size = max(self._segment_bytes, sum(map(len, frames)) + room)
        if not self._quota.has_room(size):
            raise self._full("spool_full")
        try:
            segment = Segment.create(self._folder, self._next_index, size, frames)
        except OSError as error:
            raise self._full(_reason(error)) from error
        self._quota.took(size)
        self._retire_active()
        self._active, self._next_index = segment, self._next_index + 1
        self.full_because, self._is_dirty, self._is_suspect = "", True, False

    def _first_frames(self) -> list[bytes]:
        again = list(self._unsynced) if self._is_suspect else []
        first = again[0][0] if again else self._next_seq
        head = pack(Kind.HEAD, b"", seed=self._seed, seq=first, event_id=self._spool, ts_ms=time.time_ns() // 1_000_000)
        # Those of `again` come first: a BEGAN names the seq after it and would make them look lost.
        return [head, *(frame for _, frame in again), *self._open.values()]

    def _retire_active(self) -> None:
        if self._active is None:
            return
        before = self._active.size
        with contextlib.suppress(OSError):
            self._active.seal()
        self._quota.took(self._active.size - before)
        if self._is_suspect:  # all of it that counts has been written anew
            self._active.close()
        else:
            self._to_sync.append(self._active)

    def _full(self, reason: str) -> SpoolFull:
        self.full_because = reason
        self._retry_at = time.monotonic() + _RETRY_S
        return SpoolFull(reason)

    def _keep(self, seq: int, frame: bytes) -> None:
        self._unsynced.append((seq, frame))
        self._unsynced_bytes += len(frame)
        while self._unsynced_bytes > _KEEP_BYTES:
            self._unsynced_bytes -= len(self._unsynced.popleft()[1])

    def _sync_once(self) -> bool:
        with self._lock:
            sealed, self._to_sync = self._to_sync, []
            active = self._active if self._is_dirty and not self._is_suspect else None
            self._is_dirty = False
            through = self._next_seq - 1
        refused = [segment for segment in (*sealed, active) if segment and not _synced(segment)]
        with self._lock:
            if refused:
                self._is_suspect = True
                self.sync_errors += 1
                if active in refused and active in self._to_sync:  # rotated meanwhile
                    self._to_sync.remove(active)
                    sealed.append(active)
            for segment in sealed:
                segment.close()
            if self._is_suspect:
                with contextlib.suppress(SpoolFull):
                    self._rotate(0)
                return False
            self._forget_through(through)
            return True

    def _forget_through(self, seq: int) -> None:
        self.synced_through = max(self.synced_through, seq)
        while self._unsynced and self._unsynced[0][0] <= seq:
            self._unsynced_bytes -= len(self._unsynced.popleft()[1])


def _synced(segment: Segment) -> bool:
    try:
        segment.sync()
    except OSError:
        return False
    return True


def _reason(error: OSError) -> str:
    return "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "io_error"
