"""The relay: every recorded event comes to the bus once, whatever the bus answers, and spools go when they may."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from bus import segments
from bus.bus import AppendStatus
from bus.checkpoint import CHECKPOINT
from bus.codec import decode_finished
from bus.errors import BusError
from bus.segments import list_segments, segment_name
from config.ids import id_bytes, id_text, new_id
from tests.support.relays import record, relay_of, running
from tests.support.spools import MemoryBus, began, finished, open_spool
from tests.support.waiting import until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


async def test_events_come_to_the_bus_while_the_worker_writes(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    async with running(root, bus):
        ids = await record(spool, 50)
        await until(lambda: len(bus.now.stream) == 50)
        ids += await record(spool, 50, body=b"x" * 70_000)

        await until(lambda: bus.event_ids() == ids)

    spool.close()


async def test_a_batch_has_at_most_100_frames_and_a_mebibyte(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root, segment_bytes=4 * 1024**2)
    ids = await record(spool, 250) + await record(spool, 30, body=b"x" * 300_000)
    relay = relay_of(root, bus)

    assert await relay.drain(10) == 0

    sizes = [number for _, _, _, number in bus.calls if number]
    assert bus.event_ids() == ids
    assert max(sizes) == 100
    assert sizes[-9:] == [3] * 9
    relay.close()
    spool.close()


async def test_what_comes_close_together_goes_to_the_bus_together(root: Path, bus: MemoryBus) -> None:
    linger_s, began_at = 0.2, time.monotonic()
    spool = open_spool(root)
    async with running(root, bus, poll_ms=1, linger_ms=int(linger_s * 1000)):
        ids: list[bytes] = []
        while time.monotonic() - began_at < 3 * linger_s:
            ids += await record(spool, 1)
            await asyncio.sleep(0)
        await until(lambda: bus.event_ids() == ids)
        took_s = time.monotonic() - began_at

    batches = [number for _, _, _, number in bus.calls if number]
    not_full = [number for number in batches if number < 100]
    assert len(not_full) <= took_s / linger_s + 1
    spool.close()


async def test_a_relay_that_is_behind_lets_nothing_gather(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    ids = await record(spool, 2000)
    async with running(root, bus, linger_ms=3_600_000):  # one turn of gathering would outlast the test
        await until(lambda: bus.event_ids() == ids)
    spool.close()


async def test_spools_that_appear_later_are_taken_up(root: Path, bus: MemoryBus) -> None:
    async with running(root, bus):
        spools = [open_spool(root) for _ in range(3)]
        for spool in spools:
            await record(spool, 10)

        await until(lambda: len(bus.now.stream) == 30)

    for spool in spools:
        spool.close()


async def test_exchanges_that_were_open_when_the_worker_died_become_interrupted_events_once(
    root: Path, bus: MemoryBus
) -> None:
    spool = open_spool(root)
    opened = sorted(new_id() for _ in range(5))
    for event_id in reversed(opened):
        spool.begin(began(event_id, provider="openai"))
    await spool.finish(finished(opened[2]))
    spool.close()

    async with running(root, bus):
        await until(lambda: bus.now.retired == {id_bytes(spool.folder.name)})

    assert [id_text(raw) for raw in bus.event_ids()] == [opened[2], opened[0], opened[1], opened[3], opened[4]]
    made = decode_finished(bus.now.stream[-1][3])
    assert (made.cut, made.status, made.provider) == ("interrupted", 0, "openai")
    assert not spool.folder.exists()


async def test_a_living_worker_has_no_interrupted_exchanges(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    spool.begin(began())
    ids = await record(spool, 3)
    async with running(root, bus) as relay:
        await until(lambda: len(bus.now.stream) == 3)
        await until(lambda: relay.stats().recorded == 3)

    assert bus.event_ids() == ids
    spool.close()


async def test_a_relay_killed_between_appends_repeats_the_same_and_nothing_is_doubled(
    root: Path, bus: MemoryBus
) -> None:
    spool = open_spool(root)
    ids = await record(spool, 20)
    opened = sorted(new_id() for _ in range(20))
    for event_id in opened:
        spool.begin(began(event_id))
    spool.close()
    for _ in range(30):  # each relay dies right after an append whose answer it never saw
        bus.faults = ["", "", "unknown"]
        relay = relay_of(root, bus, max_batch=3)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(relay.drain(0), 5)
        relay.close()

    last = relay_of(root, bus, max_batch=3)
    assert await last.drain(10) == 0
    last.close()

    assert bus.event_ids() == ids + [id_bytes(event_id) for event_id in opened]


async def test_after_a_gap_the_relay_sends_again_what_the_bus_lost(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    async with running(root, bus) as relay:
        ids = await record(spool, 30)
        await until(lambda: len(bus.now.stream) == 30)
        bus.replicate()
        ids += await record(spool, 30)
        await until(lambda: len(bus.now.stream) == 60)
        bus.fail_over()
        ids += await record(spool, 10)

        await until(lambda: bus.event_ids() == ids)
        assert relay.stats().rewinds == 1

    spool.close()


async def test_a_failover_is_noticed_without_new_events(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    async with running(root, bus):
        ids = await record(spool, 30)
        await until(lambda: len(bus.now.stream) == 30)
        bus.fail_over()

        await until(lambda: bus.event_ids() == ids)

    spool.close()


async def test_a_fenced_spool_is_left_alone_and_told(root: Path, bus: MemoryBus) -> None:
    fenced, other = open_spool(root), open_spool(root)
    async with running(root, bus) as relay:
        await record(fenced, 3)
        await until(lambda: len(bus.now.stream) == 3)
        await bus.append(id_bytes(fenced.folder.name), 99, 3, [])
        await record(fenced, 3)
        await record(other, 3)

        await until(lambda: len(bus.now.stream) == 6)
        await until(lambda: fenced.folder.name in relay.stats().stopped)
        assert len(relay.stats().stopped) == 1

    fenced.close()
    other.close()


async def test_being_fenced_at_upkeep_is_no_reason_to_take_the_spool_back(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    await record(spool, 3)
    relay = relay_of(root, bus)
    await relay.drain(10)
    await bus.append(id_bytes(spool.folder.name), 99, 3, [])

    for _ in range(3):
        await relay._step(upkeep=True)

    assert list(relay.stats().stopped) == [spool.folder.name]
    assert bus.now.producers[id_bytes(spool.folder.name)][0] == 99
    relay.close()
    spool.close()


async def test_a_lost_checkpoint_does_not_fence_the_relay_out(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    ids = await record(spool, 3)
    for _ in range(3):
        relay = relay_of(root, bus)
        await relay.drain(10)
        relay.close()
    (spool.folder / CHECKPOINT).write_bytes(bytes(2048))
    ids += await record(spool, 3)

    relay = relay_of(root, bus)
    assert await relay.drain(10) == 0

    assert bus.event_ids() == ids
    relay.close()
    spool.close()


async def test_each_opening_takes_a_higher_epoch(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    await record(spool, 1)
    epochs = []
    for _ in range(3):
        relay = relay_of(root, bus)
        await relay.drain(10)
        relay.close()
        epochs.append(bus.now.producers[id_bytes(spool.folder.name)][0])

    assert epochs == [1, 2, 3]
    spool.close()


async def test_a_bus_that_is_away_is_waited_for_and_nothing_is_lost_or_doubled(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    bus.is_away = True
    async with running(root, bus) as relay:
        ids = await record(spool, 100)
        await until(lambda: relay.stats().is_bus_away and relay.stats().bus_errors > 3)
        bus.is_away = False
        bus.faults = ["", "unknown", "refused", "", "unknown"]

        await until(lambda: bus.event_ids() == ids)
        await until(lambda: not relay.stats().is_bus_away)
        assert relay.stats().behind_ms == 0

    spool.close()


async def test_a_relay_that_is_cancelled_in_an_append_drains_without_loss_or_double(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    ids = await record(spool, 250)
    relay = relay_of(root, bus)
    for stuck_at in (1, 2, 4):
        bus.stuck_at = len(bus.calls) + stuck_at
        async with asyncio.TaskGroup() as group:
            task = group.create_task(relay.run(), name="relay")
            await until(lambda: bus.is_stuck)
            task.cancel()
        bus.is_stuck = False

    assert await relay.drain(10) == 0

    assert bus.event_ids() == ids
    relay.close()
    spool.close()


async def test_a_dead_spool_is_on_disk_before_its_interrupted_events_are_in_the_bus(
    root: Path, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(root)
    ids = await record(spool, 30, body=b"x" * 5000)
    spool.begin(began())
    spool.close()
    synced: dict[str, int] = {}

    def fdatasync(fd: int) -> None:
        os.fdatasync(fd)
        synced[Path(f"/proc/self/fd/{fd}").readlink().name] = len(bus.now.stream)

    monkeypatch.setattr(segments, "fdatasync", fdatasync)
    names = [segment_name(index) for index in list_segments(spool.folder)]
    relay = relay_of(root, bus)
    await relay.drain(10)

    assert list(synced) == names
    assert max(synced.values()) <= len(ids)
    assert len(bus.now.stream) == len(ids) + 1
    relay.close()


async def test_drain_tells_how_many_events_are_left(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    spool.begin(began())
    await record(spool, 7)
    spool.close()
    bus.is_away = True
    relay = relay_of(root, bus)

    assert await relay.drain(0.05) == 8

    bus.is_away = False
    assert await relay.drain(10) == 0
    relay.close()


async def test_a_bus_that_never_answers_does_not_hold_up_a_stop(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    await record(spool, 3)
    relay = relay_of(root, bus)
    bus.stuck_at = 2

    async with asyncio.timeout(60):
        left = await relay.drain(0.2)

    assert (bus.is_stuck, left) == (True, 3)
    assert await relay.drain(5) == 0
    assert len(bus.event_ids()) == 3
    relay.close()
    spool.close()


async def test_a_second_relay_on_the_same_folder_is_refused(root: Path, bus: MemoryBus) -> None:
    first, second = relay_of(root, bus), relay_of(root, bus)
    await first.drain(0)

    with pytest.raises(BusError, match="another relay"):
        await second.run()

    second.close()
    first.close()


async def test_folders_of_workers_that_died_while_they_made_them_are_deleted_later(root: Path, bus: MemoryBus) -> None:
    old, young = root / f".{new_id()}.new", root / f".{new_id()}.new"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    relay = relay_of(root, bus)

    await relay.drain(1)

    assert (old.exists(), young.exists()) == (False, True)
    relay.close()


async def test_a_spool_that_cannot_be_opened_does_not_keep_the_others_waiting(root: Path, bus: MemoryBus) -> None:
    broken, sound = open_spool(root), open_spool(root)
    await record(broken, 1)
    (broken.folder / CHECKPOINT).unlink()
    (broken.folder / CHECKPOINT).mkdir()
    ids = await record(sound, 3)
    async with running(root, bus):
        await until(lambda: bus.event_ids() == ids)

    broken.close()
    sound.close()


async def test_it_appends_under_the_epoch_it_took(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    await record(spool, 1)
    relay = relay_of(root, bus)
    await relay.drain(10)

    zombie = await bus.append(id_bytes(spool.folder.name), 0, 1, [])

    assert zombie.status is AppendStatus.FENCED
    relay.close()
    spool.close()
