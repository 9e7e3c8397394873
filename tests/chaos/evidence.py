"""What a round leaves behind for the checker: plain files of lines, each written by one process.

    <who>.sent.log     request id, sha256 of the body      before the call's first byte goes out
    <who>.seen.log     event id, request id                the reply's head has come
    <who>.acked.log    event id, request id, status, took (us), time    the reply's last byte has come; fsynced
    <who>.failed.log   time, request id, what happened     no whole reply

    poison.log         backend, request id: of calls whose events that backend must bury

`who` is the load generator or the nemesis. Times are nanoseconds of the wall clock, which chaos never steps for them.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

SENT, SEEN, ACKED, FAILED = "sent", "seen", "acked", "failed"
POISON = "poison.log"
_FLUSH_S = 0.01


class Acked(Struct, frozen=True):
    event_id: str
    request_id: str
    status: int
    took_us: int
    at_ns: int


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


class Diary:
    """Writes the four files. An acknowledged event counts once it is on the disk: a thread of its own sees to that."""

    def __init__(self, folder: Path, who: str) -> None:
        self._paths = {kind: folder / f"{who}.{kind}.log" for kind in (SENT, SEEN, ACKED, FAILED)}
        self._files = {kind: path.open("a", buffering=1) for kind, path in self._paths.items() if kind != ACKED}
        self._acked = os.open(self._paths[ACKED], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._waiting: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_flushing, name="diary", daemon=True)
        self._thread.start()

    def sent(self, request_id: str, body: bytes) -> None:
        self._files[SENT].write(f"{request_id} {digest(body)}\n")

    def seen(self, event_id: str, request_id: str) -> None:
        self._files[SEEN].write(f"{event_id} {request_id}\n")

    def acked(self, event_id: str, request_id: str, status: int, took_us: int) -> None:
        with self._lock:
            self._waiting.append(f"{event_id} {request_id} {status} {took_us} {time.time_ns()}\n")

    def failed(self, request_id: str, what: str) -> None:
        self._files[FAILED].write(f"{time.time_ns()} {request_id} {what}\n")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._flush()
        os.close(self._acked)
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _keep_flushing(self) -> None:
        while not self._stop.wait(_FLUSH_S):
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            lines, self._waiting = self._waiting, []
        if lines:
            os.write(self._acked, "".join(lines).encode())
            os.fdatasync(self._acked)


class Tail:
    """The new whole lines of a file that grows, or that is not there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def lines(self) -> list[bytes]:
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._at += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []


def all_lines(folder: Path, kind: str) -> Iterator[list[str]]:
    """The words of each line of all files of a kind."""
    for path in sorted(folder.glob(f"*.{kind}.log")):
        yield from all_words(path)


def all_words(path: Path) -> Iterator[list[str]]:
    """Of each line; none of a file that is not there."""
    if path.exists():
        with path.open() as file:
            yield from (line.rstrip("\n").split(" ") for line in file)


def pairs(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    return ((first, second) for first, second in all_lines(folder, kind))


def acked(folder: Path) -> Iterator[Acked]:
    for event_id, request_id, status, took_us, at_ns in all_lines(folder, ACKED):
        yield Acked(event_id, request_id, int(status), int(took_us), int(at_ns))
