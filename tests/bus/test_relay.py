"""The relay: every recorded event comes to the bus once, whatever the bus answers, and spools go when they may."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bus.bus import AppendStatus
from bus.checkpoint import CHECKPOINT, Checkpoint
from bus.codec import decode_finished
from bus.errors import BusError
from bus.frames import Kind, pack, seed_of
from bus.relay import Relay
from bus.segments import SegmentReader, list_segments, segment_name
from bus.slots import Slots
from bus.spool import Spool
from config.ids import id_bytes, id_text, new_id
from tests.support.spools import MemoryBus, began, finished, open_spool, until


def relay_of(root: Path, bus: MemoryBus, **settings: Any) -> Relay:
    known: dict[str, Any] = {
        "retain": "replicated",
        "poll_ms": 5,
        "upkeep_ms": 20,
        "backoff_ms": 1,
        "backoff_max_ms": 5,
    }
    return Relay(root, bus, **(known | settings))


@contextlib.asynccontextmanager
async def running(root: Path, bus: MemoryBus, **settings: Any) -> AsyncIterator[Relay]:
    relay = relay_of(root, bus, **settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run(), name="relay")
        try:
            yield relay
        finally:
            task.cancel()
    relay.close()


async def record(spool: Spool, number: int, **fields: Any) -> list[bytes]:
    events = [finished(**fields) for _ in range(number)]
    for event in events:
        await spool.finish(event)
    return [id_bytes(event.event_id) for event in events]


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


async def test_replicated_keeps_a_segment_until_it_is_in_the_bus(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    bus.is_away = True
    async with running(root, bus, retain="replicated"):
        await record(spool, 100, body=b"x" * 5000)
        before = list_segments(spool.folder)
        bus.is_away = False

        await until(lambda: list_segments(spool.folder) == before[-1:])

    assert len(bus.now.stream) == 100
    spool.close()


async def test_delivered_keeps_a_segment_until_all_backends_have_its_events(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    key = id_bytes(spool.folder.name)
    bus.delivered = {key: -1}
    async with running(root, bus, retain="delivered") as relay:
        await record(spool, 100, body=b"x" * 5000)
        before = list_segments(spool.folder)
        await until(lambda: relay.stats().appended == 100)
        upkeeps = bus.calls.count((key, 1, 100, 0))
        await until(lambda: bus.calls.count((key, 1, 100, 0)) > upkeeps + 2)
        assert list_segments(spool.folder) == before

        bus.delivered[key] = 50
        await until(lambda: list_segments(spool.folder) == before[4:])

        spool.close()
        await until(lambda: list_segments(spool.folder) == before[4:])
        bus.delivered[key] = 99
        await until(lambda: not spool.folder.exists())


async def test_a_segment_stays_as_long_as_one_of_its_events_is_not_delivered(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    key = id_bytes(spool.folder.name)
    await record(spool, 40, body=b"x" * 5000)
    segment = SegmentReader(spool.folder, 1, seed_of(key))
    head = segment.head()
    segment.close()
    assert head
    bus.delivered = {key: head.seq - 2}
    relay = relay_of(root, bus, retain="delivered")
    await relay.drain(10)
    assert list_segments(spool.folder)[0] == 0

    bus.delivered[key] += 1
    await relay.drain(10)
    assert list_segments(spool.folder)[0] == 1

    relay.close()
    spool.close()


async def test_the_checkpoint_is_on_disk_before_a_segment_is_deleted(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    async with running(root, bus):
        await record(spool, 100, body=b"x" * 5000)
        await until(lambda: len(list_segments(spool.folder)) == 1)

    point = Slots.open(spool.folder / CHECKPOINT, Checkpoint).read()
    assert point and [point.first_segment] == list_segments(spool.folder)
    spool.close()


async def test_a_rotten_frame_costs_one_event_and_is_counted_once(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    ids = await record(spool, 100, body=b"x" * 5000)
    flip(spool.folder, 2, 20_000)
    spool.close()
    for faults in (["", "refused"] * 20, ["", "unknown"] * 20, []):
        bus.faults = faults
        relay = relay_of(root, bus, max_batch=10, retain="delivered", upkeep_ms=10_000)
        bus.delivered = {}
        assert await relay.drain(10) == 0
        assert relay.stats().lost == 1
        relay.close()

    assert len(bus.event_ids()) == 99
    assert set(bus.event_ids()) < set(ids)


def flip(folder: Path, segment: int, at: int) -> None:
    path = folder / segment_name(segment)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


async def test_what_the_bus_lost_after_the_segments_had_gone_is_counted_and_the_rest_goes_on(
    root: Path, bus: MemoryBus
) -> None:
    spool = open_spool(root)
    async with running(root, bus) as relay:
        ids = await record(spool, 100, body=b"x" * 5000)
        await until(lambda: len(list_segments(spool.folder)) == 1)
        bus.fail_over()  # to a server that has nothing
        ids += await record(spool, 10)

        await until(lambda: bus.event_ids() and bus.event_ids()[-1] == ids[-1])
        stats = relay.stats()

    assert bus.event_ids() == ids[-len(bus.event_ids()) :]
    assert stats.unrecoverable == 110 - len(bus.event_ids()) > 0
    assert stats.lost == 0
    spool.close()


async def test_a_frame_of_a_newer_program_is_kept_and_told_about(root: Path, bus: MemoryBus) -> None:
    spool = open_spool(root)
    ids = await record(spool, 2)
    key = id_bytes(spool.folder.name)
    newer = pack(Kind.FINISHED, b"?", seed=seed_of(key), seq=2, event_id=bytes(16), ts_ms=0, codec=9)
    spool.close()
    with (spool.folder / segment_name(0)).open("ab") as segment:
        segment.write(newer)
    async with running(root, bus) as relay:
        await until(lambda: relay.stats().stopped)

        assert "newer program" in relay.stats().stopped[spool.folder.name]

    assert bus.event_ids() == ids
    assert spool.folder.exists()


async def test_the_totals_outlive_spools_and_relays(root: Path, bus: MemoryBus) -> None:
    for _ in range(3):
        spool = open_spool(root, max_bytes=1 << 20)
        spool.begin(began())
        await record(spool, 5)
        for _ in range(2):
            spool._losses.dropped("spool_full")
        spool.close()
        relay = relay_of(root, bus)
        await relay.drain(10)
        stats = relay.stats()
        relay.close()

    assert (stats.retired, stats.recorded, stats.interrupted) == (3, 18, 3)
    assert stats.dropped == {"spool_full": 6}


@pytest.mark.parametrize(
    "dies_at", ["bus.spool_root.set_aside", "tests.support.spools.MemoryBus.retire", "shutil.rmtree"]
)
async def test_a_death_while_a_spool_is_retired_counts_it_once_and_appends_nothing_anew(
    root: Path, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    class Died(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> None:
        raise Died

    spool = open_spool(root)
    await record(spool, 5)
    spool.close()
    with monkeypatch.context() as patch:
        patch.setattr(dies_at, die)
        relay = relay_of(root, bus)
        with pytest.raises(Died):
            await relay.drain(10)
        relay.close()

    relay = relay_of(root, bus)
    await relay.drain(10)

    assert len(bus.now.stream) == 5
    assert (relay.stats().retired, relay.stats().recorded) == (1, 5)
    assert [path.name for path in root.iterdir() if path.is_dir()] == []
    relay.close()


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
