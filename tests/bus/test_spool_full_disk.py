"""The spool on a disk of two mebibytes: full, read-only, and healing. Needs to mount, so it runs as root only."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.errors import SpoolUnusable
from bus.relay import Relay
from config.ids import id_bytes
from tests.support.small_disk import small_disk
from tests.support.spools import MemoryBus, finished, open_spool
from tests.support.waiting import until

SEGMENT = 64 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


def relay_of(root: Path, bus: MemoryBus) -> Relay:
    return Relay(root, bus, retain="replicated", poll_ms=5, upkeep_ms=10, backoff_ms=1, backoff_max_ms=5)


async def test_on_a_full_disk_each_event_is_recorded_or_counted_and_none_is_both(disk: Path) -> None:
    spool = open_spool(disk / "spool", segment_bytes=SEGMENT)
    sent = [finished(body=b"x" * 3000) for _ in range(3000)]
    for event in sent:
        await spool.finish(event)
    stats = spool.stats()
    bus = MemoryBus()
    relay = relay_of(disk / "spool", bus)
    assert await relay.drain(20) == 0

    assert stats.dropped_by == {"disk_full": stats.dropped}
    assert stats.dropped > 500
    assert stats.recorded + stats.dropped == len(sent)
    assert len(set(bus.event_ids())) == len(bus.event_ids()) == stats.recorded
    assert relay.stats().dropped == stats.dropped_by
    relay.close()
    spool.close()


async def test_recording_goes_on_by_itself_once_the_relay_has_made_room(disk: Path) -> None:
    spool = open_spool(disk / "spool", segment_bytes=SEGMENT)
    while not spool.stats().dropped:
        await spool.finish(finished(body=b"x" * 3000))
    bus = MemoryBus()
    relay = relay_of(disk / "spool", bus)
    running = asyncio.create_task(relay.run(), name="relay")
    await until(lambda: relay.stats().segments == 1)

    async with asyncio.timeout(60):
        while spool.stats().is_full:
            await spool.finish(finished(body=b"x" * 3000))
            await asyncio.sleep(0.005)
    await spool.finish(last := finished(body=b"x" * 3000))

    await until(lambda: id_bytes(last.event_id) in bus.event_ids())
    running.cancel()
    await asyncio.wait([running])
    relay.close()
    spool.close()


async def test_somebody_elses_files_fill_the_disk_and_go_again(disk: Path) -> None:
    spool = open_spool(disk / "spool", segment_bytes=SEGMENT)
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for _ in range(600):
        await spool.finish(finished(body=b"x" * 3000))
    assert spool.stats().dropped

    filler.unlink()
    dropped = -1
    while spool.stats().dropped != dropped:
        dropped = spool.stats().dropped
        await asyncio.sleep(0.06)  # the spool's own pause between two tries
        await spool.finish(finished(body=b"x" * 3000))

    assert not spool.stats().is_full
    spool.close()


async def test_a_read_only_disk_gives_one_clear_line(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    with pytest.raises(SpoolUnusable, match="Read-only file system; give DATA_DIR a local folder"):
        open_spool(disk / "spool")


async def test_a_disk_without_room_for_a_folder_gives_one_clear_line(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    with pytest.raises(SpoolUnusable, match="No space left on device; free some room"):
        open_spool(disk / "spool")
