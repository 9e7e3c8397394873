"""Segment files of one spool: names, writing with room allocated in advance, reading in stretches.

    <spool>/00000000000000000000.seg  00000000000000000001.seg ...      the last one is written, the others are sealed

A segment appears under its name only when it is allocated and holds its HEAD, so that a full disk shows before an
event is accepted into it and a reader may take the next name as the seal of the one before.
"""

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from bus.frames import HEADER_BYTES, Frame, Kind, Scan, scan
from bus.slots import allocate

SUFFIX: Final = ".seg"
_STRETCH_BYTES: Final = 1024**2

fdatasync = getattr(os, "fdatasync", os.fsync)


def segment_name(index: int) -> str:
    return f"{index:020d}{SUFFIX}"


def list_segments(folder: Path) -> list[int]:
    """Indices in order."""
    stems = (entry.name.removesuffix(SUFFIX) for entry in os.scandir(folder) if entry.name.endswith(SUFFIX))
    return sorted(int(stem) for stem in stems if len(stem) == 20 and stem.isdecimal())


def sync_folder(folder: Path) -> None:
    """Makes names durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Segment:
    """A segment that is being written. Not safe for threads, but for `sync`."""

    def __init__(self, folder: Path, index: int, fd: int, size: int) -> None:
        self.index = index
        self.size = size
        self.used = 0
        self._folder = folder
        self._fd = fd
        self._is_named_durably = False

    @classmethod
    def create(cls, folder: Path, index: int, size: int, head: Sequence[bytes]) -> Self:
        """Allocates `size` bytes and writes `head` before the name appears. Raises OSError and leaves nothing."""
        path = folder / segment_name(index)
        nameless = path.with_suffix(".new")
        fd = os.open(nameless, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        segment = cls(folder, index, fd, size)
        try:
            allocate(fd, 0, size)
            segment.write(b"".join(head))
            nameless.rename(path)
        except OSError:
            os.close(fd)
            nameless.unlink(missing_ok=True)
            raise
        return segment

    def has_room(self, nbytes: int) -> bool:
        return self.used + nbytes <= self.size

    def write(self, frame: bytes) -> None:
        """All of it, or OSError and nothing of it."""
        try:
            written = os.pwrite(self._fd, frame, self.used)
            if written < len(frame):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), segment_name(self.index))
        except OSError:
            os.ftruncate(self._fd, self.used)
            self.size = self.used
            raise
        self.used += written

    def seal(self) -> None:
        """Gives the room that was not used back."""
        os.ftruncate(self._fd, self.used)
        self.size = self.used

    def sync(self) -> None:
        """Content and name to disk. After an OSError never ask again: the kernel may have forgotten what it refused."""
        fdatasync(self._fd)
        if not self._is_named_durably:
            sync_folder(self._folder)
            self._is_named_durably = True

    def close(self) -> None:
        with contextlib.suppress(OSError):  # an error here tells of a write that `sync` has told of
            os.close(self._fd)


class SegmentReader:
    """Reads one segment of a spool, written by another process perhaps at this moment."""

    def __init__(self, folder: Path, index: int, seed: int) -> None:
        """Raises FileNotFoundError."""
        self.index = index
        self._seed = seed
        self._fd = os.open(folder / segment_name(index), os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, *, is_sealed: bool) -> Scan:
        """Frames from `offset` on, about a megabyte of them. `used` of 0: nothing more, or not yet."""
        nbytes = _STRETCH_BYTES
        while True:
            size = os.fstat(self._fd).st_size
            stretch = os.pread(self._fd, nbytes, offset)
            left = max(0, size - offset - len(stretch))
            found = scan(stretch, seed=self._seed, left=left, resync=is_sealed)
            if found.used or found.wanted <= len(stretch):
                return found
            nbytes = found.wanted

    def head(self) -> Frame | None:
        """The first frame, when it is a HEAD and sound."""
        frames = scan(os.pread(self._fd, HEADER_BYTES, 0), seed=self._seed, left=0, resync=False).frames
        return frames[0] if frames and frames[0].kind == Kind.HEAD else None

    def close(self) -> None:
        os.close(self._fd)


def cut_torn_tail(folder: Path, index: int, seed: int) -> None:
    """Cuts the last segment of a dead spool behind its last sound frame; gives back what was preallocated, too."""
    reader, at, end = SegmentReader(folder, index, seed), 0, 0
    try:
        while (found := reader.read(at, is_sealed=True)).used:
            end = at + found.sound if found.frames else end
            at += found.used
    finally:
        reader.close()
    os.truncate(folder / segment_name(index), end)


def sync_segments(folder: Path) -> None:
    """All that is left of a dead spool goes to disk. Raises OSError."""
    for index in list_segments(folder):
        fd = os.open(folder / segment_name(index), os.O_RDONLY | os.O_CLOEXEC)
        try:
            fdatasync(fd)
        finally:
            os.close(fd)
    sync_folder(folder)
