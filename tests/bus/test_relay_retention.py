"""What the relay deletes, when, and what its figures say of it: nothing needed goes, nothing is counted twice."""

from pathlib import Path

import pytest

from bus.checkpoint import CHECKPOINT, Checkpoint
from bus.frames import Kind, pack, seed_of
from bus.segments import SegmentReader, list_segments, segment_name
from bus.slots import Slots
from config.ids import id_bytes
from tests.support.relays import record, relay_of, running
from tests.support.spools import MemoryBus, began, open_spool
from tests.support.waiting import until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


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
    for faults in (["", "", "refused"] * 9, [], []):  # each batch but the first is refused once and read again
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
