"""Room on the log's disk, kept for the moment when there is no other: SQLite can delete nothing on a full disk.

    disk full ──► give_up: the file goes ──► what was appended is delivered, acknowledged, trimmed in its room
              ──► restore: once it lies there again, more may be appended

Blocking.
"""

import os
import time
from pathlib import Path
from typing import Final

from bus.slots import allocate

_BYTES: Final = 32 * 1024**2  # twice the write-ahead log: folding it into the file may take as much again
_OF_FREE: Final = 8  # no more than this part of what is free at first
_RETRY_S: Final = 1.0


class Ballast:
    def __init__(self, path: Path) -> None:
        """A disk that is full already has none, and takes nothing more."""
        self._path = path
        self._path.unlink(missing_ok=True)
        free = os.statvfs(path.parent)
        self.bytes = min(_BYTES, free.f_bavail * free.f_frsize // _OF_FREE)
        self._retry_at = 0.0
        self._is_there = False
        self.restore()

    def give_up(self) -> bool:
        """Frees the room; whether there was any."""
        was_there, self._is_there = self._is_there, False
        self._path.unlink(missing_ok=True)
        self._retry_at = time.monotonic() + _RETRY_S
        return was_there

    def restore(self) -> bool:
        """Whether the room is kept, again or still; looks once a second."""
        if self._is_there or time.monotonic() < self._retry_at:
            return self._is_there
        self._retry_at = time.monotonic() + _RETRY_S
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                allocate(descriptor, 0, max(self.bytes, 1))
            finally:
                os.close(descriptor)
            self._is_there = True
        except OSError:
            self._path.unlink(missing_ok=True)
        return self._is_there

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
