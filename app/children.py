"""Child processes, as the supervisor handles them: each in a group of its own, none outliving its parent.

A child that dies takes its group along (Granian's workers are members of their main's group), and a parent that dies,
even by kill -9, takes the child along: `die_with_parent`, which each process calls for itself.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOPS = (signal.SIGTERM, signal.SIGINT)
_WATCH_PARENT_S = 0.5  # only where the kernel cannot tell us (macOS)


class Ended(Struct, frozen=True):
    """A process that is gone. `code` is its exit code, or minus the signal that killed it."""

    pid: int
    code: int


def spawn(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Starts a process with its own group and no stdin; returns its pid. Raises OSError."""
    return os.posix_spawn(
        argv[0],
        list(argv),
        environ,
        setpgroup=0,
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
    )


def become_subreaper() -> None:
    """Orphaned grandchildren come to us, so that they are seen and reaped. Does nothing off Linux."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int | None = None) -> None:
    """SIGKILL for this process when its parent dies. `parent` is who it should be (default: who it is now).

    A worker of Granian calls it without arguments: its parent is then the process that multiprocessing forked it from.
    Exits at once when that parent is gone already, since then no signal would ever come.
    """
    expected = parent if parent is not None else _forked_from()
    if not _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        threading.Thread(target=_watch_parent, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    if expected is not None and os.getppid() != expected:
        os._exit(1)


def forked_children_stop_by_default() -> None:
    """From now on, a child of `fork` dies of SIGTERM and SIGINT until it sets handlers of its own.

    It would inherit ours, which only tell a loop that the child does not run: a stop within a worker's first tenths of
    a second was lost, and waited for until the drain time was over. Both are held back during the fork, so that none
    comes in between.
    """
    os.register_at_fork(before=_hold_stops, after_in_parent=_let_stops_in, after_in_child=_stop_by_default)


def reap() -> Ended | None:
    """One process that has ended, its group killed before its pid may be given to another; None when there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None:
        return None
    signal_group(found.si_pid, signal.SIGKILL)
    _, status = os.waitpid(found.si_pid, 0)
    return Ended(found.si_pid, os.waitstatus_to_exitcode(status))


def signal_group(pid: int, number: signal.Signals) -> None:
    """To the process and all that it forked. No error when they are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_one(pid: int, number: signal.Signals) -> None:
    """To the process alone: it stops what it forked in its own order."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _hold_stops() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)


def _let_stops_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


def _stop_by_default() -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)
    _let_stops_in()


def _forked_from() -> int | None:
    multiprocessing = sys.modules.get("multiprocessing")
    forked = multiprocessing.parent_process() if multiprocessing else None
    return forked.pid if forked else None


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_PARENT_S)
    os._exit(1)
