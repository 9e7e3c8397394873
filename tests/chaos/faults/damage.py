"""Disks that give back something else than was written, and clocks that jump."""

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bus.frames import Kind as FrameKind
from bus.frames import seed_of
from bus.ownership import LOCK, spools
from bus.segments import SegmentReader, list_segments, segment_name
from tests.chaos.fault import kind
from tests.chaos.processes import freeze, kill
from tests.chaos.stage import Stage
from tests.support.waiting import eventually

_HOUR_NS = 3_600_000_000_000


@kind(lasts_s=(0.1, 0.3), alone=True, drops=True)
def flip_a_bit(stage: Stage, dice: Random) -> Iterator[None]:
    """In a sealed segment that the relay has not read: costs one event at most, and is counted."""
    keeper, before = stage.pid("keeper"), stage.admitted()
    freeze([keeper], is_frozen=True)
    try:
        old = {folder: list_segments(folder) for folder in _folders(stage)}
        eventually(lambda: [stage.call(size=20_000) for _ in range(8)] and _unread(stage, old))
        folder, index = dice.choice(_unread(stage, old))
        _flip(folder / segment_name(index), dice)
        yield
    finally:
        freeze([keeper], is_frozen=False)
    assert stage.admitted() - before <= 1


@kind(lasts_s=(0.1, 0.3), alone=True)
def tear_the_last_record(stage: Stage, dice: Random) -> Iterator[None]:
    """Half a frame lies behind the last one of a dead worker: it is no event, and takes none along."""
    keeper = stage.pid("keeper")
    freeze([keeper], is_frozen=True)
    try:
        folder, end, _ = _dead_spool(stage, dice)
        with (folder / segment_name(list_segments(folder)[-1])).open("r+b") as file:
            file.seek(end)
            file.write(b"\xf3LP\x9e" + dice.randbytes(dice.randint(1, 400)))
        yield
    finally:
        freeze([keeper], is_frozen=False)


@kind(lasts_s=(0.1, 0.3), alone=True)
def cut_the_last_record(stage: Stage, dice: Random) -> Iterator[None]:
    """A dead worker's last frame did not reach the disk: its exchange is told by its beginning, as interrupted."""
    keeper = stage.pid("keeper")
    freeze([keeper], is_frozen=True)
    try:
        folder, end, is_finished = _dead_spool(stage, dice)
        if is_finished:
            os.truncate(folder / segment_name(list_segments(folder)[-1]), end - dice.randint(1, 40))
        yield
    finally:
        freeze([keeper], is_frozen=False)


@kind(lasts_s=(0.5, 2.0))
def step_the_clock(stage: Stage, dice: Random) -> Iterator[None]:
    """All processes of the server see another hour, and then their own again."""
    path = stage.folder / "clock"
    _step(path, dice.choice((-1, 1)) * _HOUR_NS)
    try:
        yield
    finally:
        _step(path, 0)


@kind()
def lose_the_wake_socket(stage: Stage, dice: Random) -> Iterator[None]:
    """Workers poke nobody: the relay looks by itself. The next keeper makes a new one."""
    (stage.disks.data / "wake.sock").unlink(missing_ok=True)
    yield
    os.kill(stage.pid("keeper"), signal.SIGTERM)


def _folders(stage: Stage) -> list[Path]:
    return list(spools(stage.disks.spool).values())


def _unread(stage: Stage, old: dict[Path, list[int]]) -> list[tuple[Path, int]]:
    """Segments that were begun and sealed since `old` was looked up."""
    return [
        (folder, index)
        for folder in _folders(stage)
        for index in list_segments(folder)[:-1]
        if index > max(old.get(folder, [-1]), default=-1)
    ]


def _flip(path: Path, dice: Random) -> None:
    with path.open("r+b") as file:
        at = dice.randrange(path.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0] ^ (1 << dice.randrange(8))
        file.seek(at)
        file.write(bytes([byte]))


def _dead_spool(stage: Stage, dice: Random) -> tuple[Path, int, bool]:
    """The spool of a worker that is killed for it: its folder, where its last frame ends, whether that is an event."""
    victim = dice.choice(stage.workers())
    folder = _spool_of(victim)
    kill(victim)
    reader = SegmentReader(folder, list_segments(folder)[-1], seed_of(_id(stage, folder)))
    try:
        at, end, last = 0, 0, 0
        while (found := reader.read(at, is_sealed=True)).used:
            if found.frames:
                end, last = at + found.sound, found.frames[-1].kind
            at += found.used
    finally:
        reader.close()
    return folder, end, last == FrameKind.FINISHED


def _spool_of(worker: int) -> Path:
    """Found by the lock that it holds."""
    opened = (path.readlink() for path in Path(f"/proc/{worker}/fd").iterdir())
    return next(path.parent for path in opened if path.name == LOCK)


def _id(stage: Stage, folder: Path) -> bytes:
    return next(spool for spool, path in spools(stage.disks.spool).items() if path == folder)


def _step(path: Path, by_ns: int) -> None:
    with path.open("r+b") as file:
        file.write(struct.pack("<q", by_ns))
