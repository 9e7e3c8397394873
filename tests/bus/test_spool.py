"""The worker's spool: recorded means on the file system, full means counted, and nothing waits that need not."""

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bus import segments
from bus.checkpoint import COUNTS, Counts
from bus.codec import decode_finished, encode
from bus.errors import SpoolFull, SpoolUnusable
from bus.frames import Codec, Frame
from bus.quota import Quota
from bus.reader import SpoolReader
from bus.slots import Slots
from bus.spool import Spool
from config.ids import id_bytes, new_id
from tests.support.spools import began, finished, open_spool
from tests.support.waiting import eventually, until


def frames_of(folder: Path) -> list[Frame]:
    reader = SpoolReader(folder, id_bytes(folder.name), patience_s=30)
    reader.seek(0)
    found = []
    while item := reader.next(is_dead=True):
        assert item.frame is not None
        found.append(item.frame)
    reader.close()
    return found


def ids_of(folder: Path) -> list[bytes]:
    return [frame.event_id for frame in frames_of(folder)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(root: Path) -> Iterator[Spool]:
    opened = open_spool(root)
    yield opened
    opened.close()


async def test_a_finished_event_lies_in_the_segment_when_finish_returns(spool: Spool) -> None:
    event = finished(body=b"hello")

    spool.begin(began(event.event_id))
    await spool.finish(event)

    [frame] = frames_of(spool.folder)
    assert decode_finished(frame.payload) == event
    assert (frame.seq, frame.event_id) == (0, id_bytes(event.event_id))


async def test_a_small_event_is_written_without_giving_the_loop_away(spool: Spool) -> None:
    with pytest.raises(StopIteration):
        spool.finish(finished(body=b"x" * 20_000)).send(None)

    assert len(frames_of(spool.folder)) == 1


async def test_a_large_event_is_compressed(spool: Spool) -> None:
    event = finished(body=b"many words " * 20_000)

    await spool.finish(event)

    [frame] = frames_of(spool.folder)
    assert frame.codec == Codec.ZSTD
    assert len(frame.payload) < 10_000


async def test_events_of_any_size_go_through_segments_of_any_size(root: Path) -> None:
    spool = open_spool(root, segment_bytes=64 * 1024)
    events = [finished(body=os.urandom(size)) for size in (0, 1, 60_000, 70_000, 300_000, 5, 64 * 1024)]

    for event in events:
        await spool.finish(event)

    assert ids_of(spool.folder) == [id_bytes(event.event_id) for event in events]
    assert spool.stats().recorded == len(events)
    spool.close()


async def test_open_exchanges_are_repeated_at_rotation_so_that_older_segments_may_go(spool: Spool) -> None:
    still_open, ended = new_id(), new_id()
    spool.begin(began(still_open))
    spool.begin(began(ended))
    await spool.finish(finished(ended))
    while len(segments.list_segments(spool.folder)) < 3:
        await spool.finish(finished(body=b"x" * 5000))
    for index in segments.list_segments(spool.folder)[:-1]:
        (spool.folder / segments.segment_name(index)).unlink()

    reader = SpoolReader(spool.folder, id_bytes(spool.folder.name), patience_s=30)
    reader.seek(0)
    while reader.next(is_dead=True):
        pass

    assert list(reader.open) == [id_bytes(still_open)]


async def test_record_disk_returns_only_when_the_bytes_are_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []

    def fdatasync(fd: int) -> None:
        os.fdatasync(fd)
        synced.append(os.pread(fd, 1 << 20, 0))

    monkeypatch.setattr(segments, "fdatasync", fdatasync)
    spool = open_spool(root, record="disk", sync_ms=10_000)
    event = finished()

    await asyncio.wait_for(spool.finish(event), 60)

    assert encode(event) in synced[-1]
    spool.close()


async def test_record_disk_syncs_many_events_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(root, record="disk", segment_bytes=1 << 20, sync_ms=10_000)
    syncs = 0

    def fdatasync(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        eventually(lambda: syncs > 1 or spool.stats().recorded == 200)  # the first one is slow
        os.fdatasync(fd)

    monkeypatch.setattr(segments, "fdatasync", fdatasync)

    await asyncio.gather(*(spool.finish(finished()) for _ in range(200)))

    assert syncs <= 3
    assert len(frames_of(spool.folder)) == 200
    spool.close()


async def test_record_async_writes_a_little_later(root: Path) -> None:
    spool = open_spool(root, record="async")
    event, still_open = finished(body=b"x" * 100_000), new_id()

    spool.begin(began(still_open))
    await spool.finish(event)

    await until(lambda: ids_of(spool.folder) == [id_bytes(event.event_id)])
    spool.close()


async def test_record_async_has_written_everything_when_it_is_closed(root: Path) -> None:
    spool = open_spool(root, record="async", segment_bytes=1 << 20)
    events = [finished() for _ in range(500)]
    for event in events:
        await spool.finish(event)

    spool.close()

    assert ids_of(spool.folder) == [id_bytes(event.event_id) for event in events]


@pytest.mark.parametrize("record", ["os", "disk"])
async def test_what_an_fsync_refused_is_written_anew_and_never_synced_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    refused: list[str] = []

    def fdatasync(fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        assert path not in refused, "synced again after a refusal"
        if path.endswith("0.seg"):
            refused.append(path)
            os.pwrite(fd, bytes(4096), 0)  # the page was dropped
            raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(segments, "fdatasync", fdatasync)
    spool = open_spool(root, record=record, sync_ms=50)
    events = [finished() for _ in range(5)]
    for event in events:
        await spool.finish(event)
    await until(lambda: spool.stats().sync_errors == 1)

    await spool.finish(last := finished())
    spool.close()

    assert ids_of(spool.folder) == [id_bytes(event.event_id) for event in [*events, last]]
    assert len(refused) == 1


async def test_a_disk_that_refuses_every_sync_is_counted_or_refused_as_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fdatasync(fd: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(segments, "fdatasync", fdatasync)
    serving = open_spool(root, record="disk", when_full="drop")
    strict = open_spool(root, record="disk", when_full="reject")

    await serving.finish(finished())
    with pytest.raises(SpoolUnusable):
        await strict.finish(finished())

    assert serving.stats().unconfirmed == 1
    assert len(frames_of(serving.folder)) == 1
    serving.close()
    strict.close()


async def test_bodies_go_first_then_events_and_each_is_counted_on_disk(root: Path) -> None:
    spool = open_spool(root, max_bytes=1 << 20, segment_bytes=128 * 1024)
    sent = [finished(body=b"x" * 4000) for _ in range(3000)]
    for event in sent:
        spool.begin(began(event.event_id))
        await spool.finish(event)
    stats = spool.stats()

    recorded = [decode_finished(frame.payload) for frame in frames_of(spool.folder)]
    whole = [event for event in recorded if event.request_body and event.request_body.data]
    bare = [event for event in recorded if event not in whole]
    assert 200 < len(whole) < 260
    assert len(bare) > 100
    assert all(event.request_body and event.request_body.truncated for event in bare)
    assert stats.is_full
    assert (stats.recorded, stats.bodies_dropped) == (len(recorded), len(bare))
    assert stats.dropped == len(sent) - len(recorded)
    assert Slots.open(spool.folder / COUNTS, Counts).read() == Counts({"spool_full": stats.dropped}, len(bare))
    assert sum(path.stat().st_size for path in root.rglob("*.seg")) <= 1 << 20
    spool.close()


async def test_a_dropped_exchange_is_not_taken_for_an_interrupted_one(root: Path) -> None:
    spool = open_spool(root, max_bytes=1 << 20, segment_bytes=128 * 1024)
    while not spool.stats().dropped:
        event = finished(body=b"x" * 3000)
        spool.begin(began(event.event_id))
        await spool.finish(event)
    spool.close()

    reader = SpoolReader(spool.folder, id_bytes(spool.folder.name), patience_s=30)
    reader.seek(0)
    while reader.next(is_dead=True):
        pass

    assert reader.open == {}


async def test_reject_refuses_new_exchanges_while_the_running_ones_still_find_room(root: Path) -> None:
    spool = open_spool(root, max_bytes=1 << 20, segment_bytes=128 * 1024, when_full="reject")
    running: list[str] = []
    with pytest.raises(SpoolFull):
        for _ in range(10_000):
            running.append(new_id())
            spool.begin(began(running[-1]))
            if len(running) > 50:
                await spool.finish(finished(running.pop(0), body=b"x" * 3000))
    for event_id in running:
        await spool.finish(finished(event_id))

    assert spool.stats().dropped == 0
    spool.close()


@pytest.mark.parametrize("when_full", ["drop", "reject"])
async def test_it_goes_on_by_itself_when_room_comes_back(root: Path, when_full: str) -> None:
    spool = open_spool(root, max_bytes=1 << 20, segment_bytes=128 * 1024, when_full=when_full)
    for _ in range(4000):
        await spool.finish(finished(body=b"x" * 3000))
    assert spool.stats().is_full
    for path in sorted(spool.folder.glob("*.seg"))[:-1]:
        path.unlink()

    async def is_recording() -> bool:
        recorded = spool.stats().recorded
        try:
            spool.begin(began())
        except SpoolFull:
            return False
        await spool.finish(finished(body=b"x" * 3000))
        return spool.stats().recorded > recorded

    async with asyncio.timeout(60):
        while not await is_recording():
            await asyncio.sleep(0.01)

    spool.close()


async def test_a_full_disk_is_met_when_a_segment_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(root)
    await spool.finish(finished())

    def allocate(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments, "allocate", allocate)
    for _ in range(1000):
        await spool.finish(finished(body=b"x" * 8000))

    stats = spool.stats()
    assert stats.dropped_by == {"disk_full": stats.dropped}
    assert stats.recorded + stats.dropped == 1001
    assert len(frames_of(spool.folder)) == stats.recorded
    assert [path.name for path in spool.folder.glob("*.new")] == []
    spool.close()


async def test_a_spool_without_room_for_its_first_segment_opens_and_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments, "allocate", allocate)
    spool = open_spool(root)

    await spool.finish(finished())

    assert spool.stats().dropped_by == {"disk_full": 1}
    assert spool.stats().is_full
    spool.close()


async def test_an_event_larger_than_a_frame_goes_without_its_bodies(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.journal.MAX_PAYLOAD_BYTES", 10_000)
    spool = open_spool(root)

    await spool.finish(finished(body=b"x" * 20_000))

    [frame] = frames_of(spool.folder)
    assert len(frame.payload) < 1000
    assert spool.stats().bodies_dropped == 1
    spool.close()


def has_grown(times: list[float], before: int) -> bool:
    return len(times) > before


async def test_power_may_cost_no_more_than_sync_ms(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[float] = []

    def fdatasync(fd: int) -> None:
        os.fdatasync(fd)
        synced.append(time.monotonic())

    spool = open_spool(root, sync_ms=40)
    monkeypatch.setattr(segments, "fdatasync", fdatasync)
    waited = []
    for _ in range(8):
        written, before = time.monotonic(), len(synced)
        await spool.finish(finished())
        await until(partial(has_grown, synced, before))
        waited.append(synced[-1] - written)

    assert sorted(waited)[4] < 0.07, "the usual sync comes too late"
    spool.close()


async def test_record_async_counts_what_its_queue_does_not_take(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.unhurried._MAX_BYTES", 100_000)
    spool = open_spool(root, record="async")
    for _ in range(200):  # no pause: the queue is emptied by a thread, but hardly between two of these
        await spool.finish(finished(body=b"x" * 50_000))
    spool.close()

    stats = spool.stats()
    assert stats.dropped_by == {"queue_full": stats.dropped}
    assert stats.recorded + stats.dropped == 200


async def test_the_spool_goes_on_syncing_when_its_folder_cannot_be_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(quota: Quota) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    spool = open_spool(root, record="disk")
    monkeypatch.setattr(Quota, "measure_if_old", lambda quota, age_s: measure(quota))

    for _ in range(3):
        await asyncio.wait_for(spool.finish(finished()), 60)

    assert len(frames_of(spool.folder)) == 3
    spool.close()


async def test_an_unusable_folder_gives_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(SpoolUnusable, match=r"cannot write the spool in .*file/spool: Not a directory; give DATA_DIR"):
        open_spool(tmp_path / "file" / "spool")


async def test_a_closed_spool_says_so(root: Path) -> None:
    spool = open_spool(root)
    spool.close()
    spool.close()

    with pytest.raises(SpoolUnusable, match="closed"):
        await spool.finish(finished())


async def test_a_closed_spool_gives_back_the_room_it_did_not_use(root: Path) -> None:
    spool = open_spool(root, segment_bytes=1 << 20)
    await spool.finish(finished())

    spool.close()

    assert sum(path.stat().st_size for path in spool.folder.glob("*.seg")) < 1000
