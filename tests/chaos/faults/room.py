"""Disks that are full, spools that may not grow, processes that may not open another file."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from tests.chaos import disks
from tests.chaos.fault import kind
from tests.chaos.processes import freeze, terminate
from tests.chaos.stage import Stage
from tests.support.waiting import eventually


@contextmanager
def _full(stage: Stage, folder: Path) -> Iterator[None]:
    """Whatever becomes free on it is taken, too."""
    try:
        disks.fill(folder)
        with stage.ticking(lambda: disks.fill(folder)):
            yield
    finally:
        disks.empty(folder)


@kind("small-disks", alone=True, drops=True)
def spool_disk_full(stage: Stage, dice: Random) -> Iterator[None]:
    """Clients are served all the same; what finds no room is counted."""
    before = stage.admitted()
    with _full(stage, stage.disks.spool):
        answered = _use_up(stage)
        yield
    assert set(answered) == {200}, f"the proxy felt the full disk: {answered}"
    eventually(lambda: stage.admitted() > before)


@kind("small-disks", drops=True)
def spool_disk_full_and_all_killed(stage: Stage, dice: Random) -> Iterator[None]:
    """The server starts on a full disk, and heals by itself when there is room."""
    with _full(stage, stage.disks.spool):
        _use_up(stage)
        stage.running.kill()
        stage.start_server()
        yield


@kind("small-disks", lasts_s=(1.0, 2.5))
def log_disk_full(stage: Stage, dice: Random) -> Iterator[None]:
    """The embedded log takes nothing: the spools keep what comes."""
    terminate(stage.pid("keeper"))  # with it goes the log's WAL, which has room in it
    eventually(lambda: stage.stats())
    with _full(stage, stage.disks.data):
        eventually(lambda: stage.call() == 200 and stage.looked().relay["bus_errors"] > 0)
        yield


@kind("small-disks", lasts_s=(1.0, 2.5))
def records_disk_full(stage: Stage, dice: Random) -> Iterator[None]:
    """The other backend goes on."""
    with _full(stage, stage.disks.databases):
        eventually(lambda: [stage.call(size=150_000) for _ in range(5)] and stage.waits("database"))
        assert not stage.waits("file")
        yield


@kind("small-disks", alone=True, drops=True, lasts_s=(0.2, 0.5))
def spool_over_its_bound(stage: Stage, dice: Random) -> Iterator[None]:
    """The keeper hangs and the spool may take 1 MiB: bodies go first, then whole events, and each is counted."""
    stage.restart_with(LLM_PROXY_SPOOL_MAX_BYTES=str(1024**2))
    before, keeper = stage.stats(), stage.pid("keeper")
    freeze([keeper], is_frozen=True)
    try:
        answered = [stage.call(size=30_000) for _ in range(60)]
        yield
    finally:
        freeze([keeper], is_frozen=False)
    assert set(answered) == {200}, f"the proxy felt the full spool: {answered}"
    assert before
    eventually(lambda: (now := stage.stats()) and now.relay["bodies_dropped"] > 0)
    stage.restart_with()


@kind("small-disks", alone=True, drops=True, lasts_s=(0.2, 0.5))
def spool_over_its_bound_and_rejecting(stage: Stage, dice: Random) -> Iterator[None]:
    """`reject`: what cannot be recorded is not served."""
    stage.restart_with(LLM_PROXY_SPOOL_MAX_BYTES=str(1024**2), LLM_PROXY_SPOOL_WHEN_FULL="reject")
    keeper = stage.pid("keeper")
    freeze([keeper], is_frozen=True)
    try:
        answered = _call_until_refused(stage)
        yield
    finally:
        freeze([keeper], is_frozen=False)
    assert answered[-1] == 503 and set(answered) == {200, 503}, f"told {answered}"
    eventually(lambda: stage.call() == 200)
    stage.restart_with()


@kind(lasts_s=(0.5, 1.5))
def keeper_out_of_files(stage: Stage, dice: Random) -> Iterator[None]:
    """It may open nothing new: no segment, no database."""
    with _no_new_files(stage.pid("keeper")):
        yield


@kind(lasts_s=(0.3, 1.0), drops=True)
def worker_out_of_files(stage: Stage, dice: Random) -> Iterator[None]:
    """It may open no segment and no connection; what it cannot record is counted."""
    with _no_new_files(dice.choice(stage.workers())):
        yield


@contextmanager
def _no_new_files(pid: int) -> Iterator[None]:
    allowed = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, allowed[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it died of it, and another one has its own bounds
            resource.prlimit(pid, resource.RLIMIT_NOFILE, allowed)


def _call_until_refused(stage: Stage) -> list[int]:
    """Large ones until bodies are left out, then many small ones."""
    answered = [stage.call(size=30_000) for _ in range(40)]
    while answered[-1] == 200 and len(answered) < 1_000:
        answered.append(stage.call())
    return answered


def _use_up(stage: Stage) -> list[int]:
    """Enough calls that both workers need another segment."""
    return [stage.call(size=30_000) for _ in range(24)]
