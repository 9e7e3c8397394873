"""A file of JSON lines with one writer: what is torn is cut at open, what is written is on the disk.

All of this blocks; the `file` backend runs it on a thread of its own. Each line begins with `{"event_id":"..."`, which
is how lines are found again: nothing inside a body can look like the beginning of a line.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LINE_START: Final = b'{"event_id":"'
_ID: Final = re.compile(rb'^\{"event_id":"([^"\n]{1,64})"', re.MULTILINE)
_LOOK_BACK: Final = 64 * 1024**2  # a redelivery comes within minutes; beyond that many bytes nobody looks
_BLOCK: Final = 1024 * 1024


class JsonLines:
    """Raises OSError from everything; after one, close it and open another."""

    def __init__(self, path: Path) -> None:
        """Takes the file over. BlockingIOError: another process writes to it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _mend_tail(self._fd)
        except OSError:
            os.close(self._fd)
            raise

    def is_current(self) -> bool:
        """False when the path leads elsewhere by now: somebody rotated the file."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def append(self, lines: Iterable[bytes]) -> None:
        """All lines or none, on the disk when it returns."""
        rest = memoryview(b"".join(lines))
        before = os.fstat(self._fd).st_size
        try:
            while rest:
                written = os.write(self._fd, rest)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rest = rest[written:]
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def recent_ids(self) -> list[str]:
        """The ids of the lines in the last 64 MiB, oldest first; those lines are on the disk when it returns."""
        size = os.fstat(self._fd).st_size
        at = max(0, size - _LOOK_BACK)
        found: list[str] = []
        rest = b""
        while at < size and (block := os.pread(self._fd, _BLOCK, at)):  # a device may have no end
            at += len(block)
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                found += [match.decode() for match in _ID.findall(whole)]
        if found:
            os.fdatasync(self._fd)  # whoever wrote them may have died before it could
        return found

    def close(self) -> None:
        os.close(self._fd)


def _mend_tail(fd: int) -> None:
    """Cuts a last line of ours that was torn by a crash; a stranger's last line gets its line break."""
    size = os.fstat(fd).st_size
    start = _last_line_start(fd, size)
    if start == size:
        return
    head = os.pread(fd, len(LINE_START), start).rstrip(b"\0")  # a power loss can leave zeros in place of bytes
    if head.startswith(LINE_START) or LINE_START.startswith(head):
        os.ftruncate(fd, start)
        os.fsync(fd)
    else:
        os.write(fd, b"\n")


def _last_line_start(fd: int, size: int) -> int:
    """Offset after the last line break."""
    end = size
    while end > 0:
        begin = max(0, end - _BLOCK)
        at = os.pread(fd, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0
