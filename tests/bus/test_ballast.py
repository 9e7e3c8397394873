"""A full disk under the embedded log: what it holds is delivered and trimmed; nothing new is taken, nothing is lost."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bus.ballast import Ballast
from bus.bus import Entry
from bus.errors import BusUnavailable
from bus.sqlite_log import SqliteLog
from tests.support.small_disk import small_disk
from tests.support.waiting import eventually_async

SPOOL = b"s" * 16


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "64m") as folder:
        yield folder


@pytest.fixture
async def log(disk: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(disk / "bus.db")
    await opened.ensure_groups(["db"])
    yield opened
    await opened.close()


async def append(log: SqliteLog, first: int, count: int) -> int:
    entries = [Entry(number.to_bytes(16), bytes(20_000)) for number in range(first, first + count)]
    return (await log.append(SPOOL, 1, first, entries)).added


def fill(disk: Path) -> Path:
    """To the last byte."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (1024**2, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return filler


async def fill_up(log: SqliteLog, disk: Path, first: int) -> tuple[Path, int]:
    """The filler, and how many events the log has taken."""
    filler, taken = fill(disk), first
    with suppress(BusUnavailable):
        while added := await append(log, taken, 10):
            taken += added
    fill(disk)
    return filler, taken


async def deliver_all(log: SqliteLog) -> set[int]:
    seen: set[int] = set()
    while batch := await log.read("db", "c", max_entries=50, max_bytes=10**7, block_ms=0):
        seen |= {int.from_bytes(delivery.event_id) for delivery in batch}
        await log.ack("db", [delivery.key for delivery in batch])
        await log.trim()
    return seen


@pytest.mark.slow
async def test_on_a_full_disk_what_was_taken_is_delivered_and_more_is_taken_when_there_is_room(
    log: SqliteLog, disk: Path
) -> None:
    for first in range(0, 1000, 10):
        await append(log, first, 10)
    filler, taken = await fill_up(log, disk, 1000)

    assert await deliver_all(log) == set(range(taken))
    assert (await log.stats()).entries == 0
    fill(disk)
    with pytest.raises(BusUnavailable, match="is full"):
        await append(log, taken, 1)

    filler.unlink()

    async def is_taken() -> bool:
        with suppress(BusUnavailable):
            await append(log, taken, 1)
        return (await log.append(SPOOL, 1, taken, [])).high_water == taken

    await eventually_async(is_taken)
    assert await deliver_all(log) == {taken}
    assert (disk / "bus.db.ballast").stat().st_size > 1024**2


async def test_without_the_ballast_a_full_disk_lets_nobody_acknowledge(
    log: SqliteLog, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is one."""
    monkeypatch.setattr(Ballast, "give_up", lambda ballast: False)
    for first in range(0, 1000, 10):
        await append(log, first, 10)
    await fill_up(log, disk, 1000)

    with pytest.raises(BusUnavailable, match="is full"):
        await deliver_all(log)


def test_a_small_disk_keeps_a_small_part_of_it(disk: Path) -> None:
    ballast = Ballast(disk / "b")

    assert (disk / "b").stat().st_size == pytest.approx(64 * 1024**2 / 8, rel=0.05)
    ballast.close()
    assert list(disk.iterdir()) == []


async def test_what_a_killed_keeper_left_is_replaced(disk: Path) -> None:
    (disk / "bus.db.ballast").write_bytes(b"x")

    opened = await SqliteLog.open(disk / "bus.db")

    assert (disk / "bus.db.ballast").stat().st_size > 1024**2
    await opened.close()
    assert not (disk / "bus.db.ballast").exists()
