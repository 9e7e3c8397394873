"""Memory and processor time of a proxy's worker, from /proc, while something passes through it."""

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from tests.support.proxy import Proxy

MIB = 1024 * 1024


class Memory(Struct, frozen=True):
    rss: int
    pss: int
    """Bytes; shared pages are divided among those who share them."""


def worker_pid(proxy: Proxy) -> int:
    """The child of Granian's main process that serves; multiprocessing's tracker is a child too, and small."""
    assert proxy.process is not None
    return max(_children(proxy.process.pid), key=lambda pid: memory_of(pid).rss)


def family(pid: int) -> list[int]:
    """A process and all that it started, as far as they live."""
    try:
        children = _children(pid)
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(child))]


def cpu_of_family(pid: int) -> float:
    """Seconds so far."""
    return sum(cpu_seconds(member) for member in family(pid)) if pid else 0.0


def memory_of(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines[1:])}
    return Memory(rss=kib["Rss"] * 1024, pss=kib["Pss"] * 1024)


def cpu_seconds(pid: int) -> float:
    """Of all its threads so far, in user and kernel; the clock's step is 10 ms."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """`with Watch(pid) as seen:` knows memory before, at most, and after."""

    def __init__(self, pid: int, *, every_s: float = 0.02) -> None:
        self._pid, self._every_s = pid, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.before = self.most = self.after = memory_of(pid)
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._began
        self._note(memory_of(self._pid))

    @property
    def growth(self) -> int:
        """Most memory held, less what was held before."""
        return self.most.rss - self.before.rss

    def _look(self) -> None:
        while not self._stop.wait(self._every_s):
            self._note(memory_of(self._pid))

    def _note(self, now: Memory) -> None:
        self.after = now
        self.most = Memory(rss=max(self.most.rss, now.rss), pss=max(self.most.pss, now.pss))


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
