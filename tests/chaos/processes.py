"""Starting, freezing and killing the processes of a round: only those that the harness started, by their pid."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.llm_proxy import is_alive, parent_of, processes
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A program of ours that ends with the harness. Start it on the main thread: it ends with that thread."""

    def __init__(self, argv: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None) -> None:
        self._argv, self._log, self._environ = list(argv), log, environ
        self.started = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._argv, cwd=ROOT, env=self._environ, stdout=log, stderr=log, preexec_fn=_end_with_parent
            )

    @property
    def pid(self) -> int:
        return self.started.pid

    def again(self) -> None:
        self.started = self._start()

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 60) -> int:
        """The exit code."""
        if self.started.poll() is None:
            self.started.send_signal(number)
        return self.started.wait(within_s)

    def kill(self) -> None:
        if self.started.poll() is None:
            self.started.kill()
            self.started.wait(60)


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def kill(pid: int) -> None:
    """kill -9, and it is gone when this returns."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))


def terminate(pid: int) -> None:
    """SIGTERM, and it is gone when this returns."""
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_alive(pid))


def freeze(pids: Sequence[int], *, is_frozen: bool) -> None:
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGSTOP if is_frozen else signal.SIGCONT)


def below(pid: int) -> set[int]:
    """All living descendants of a process."""
    parents = {child: parent_of(child) for child in processes()}
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def wait_until(moment: float) -> None:
    """A fault lasts as long as it lasts: this is the only sleep that is no wait for a condition."""
    time.sleep(max(0.0, moment - time.monotonic()))


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
