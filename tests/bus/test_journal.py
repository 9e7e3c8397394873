"""The journal in the moments that a random walk hardly meets."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import journal as journal_module
from bus import segments
from bus.codec import encode
from bus.errors import SpoolFull
from bus.journal import Journal
from bus.quota import Quota
from bus.reader import Item, SpoolReader
from config.ids import id_bytes, new_id, new_id_bytes
from tests.support.spools import began, finished

SPOOL = new_id_bytes()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setattr(journal_module, "_RETRY_S", 0.0)
    opened = Journal(tmp_path, SPOOL, segment_bytes=64 * 1024, quota=Quota(tmp_path, 1 << 30))
    yield opened
    opened.close()


def record(journal: Journal, body: bytes = b"") -> int:
    return journal.finished(id_bytes(new_id()), encode(finished(body=body)), 1)


def read(folder: Path) -> SpoolReader:
    """A reader that has read all, as of a dead worker."""
    reader = SpoolReader(folder, SPOOL, patience_s=30)
    reader.seek(0)
    while item := reader.next(is_dead=True):
        assert item.frame
    reader.close()
    return reader


def no_room(fd: int, offset: int, size: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_written_during_a_sync_is_not_taken_for_synced(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record(journal)
    during: list[int] = []

    def fdatasync(fd: int) -> None:
        os.fdatasync(fd)
        during.append(record(journal))

    monkeypatch.setattr(segments, "fdatasync", fdatasync)
    assert journal.sync()

    assert journal.synced_through == first
    assert during == [first + 1]


def test_a_segment_that_is_left_during_a_refused_sync_is_not_synced_again(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fdatasync(fd: int) -> None:
        asked.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        if len(asked) == 1:
            while len(segments.list_segments(tmp_path)) == 1:
                record(journal, b"x" * 9000)
            raise OSError(errno.EIO, "I/O error")

    record(journal)
    monkeypatch.setattr(segments, "fdatasync", fdatasync)

    assert journal.sync()

    assert len(asked) == len(set(asked))
    assert read(tmp_path).next_seq == journal.recorded


def test_a_refused_segment_is_not_synced_again_while_there_is_no_room_for_another(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fdatasync(fd: int) -> None:
        asked.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        if len(asked) == 1:
            raise OSError(errno.EIO, "I/O error")

    record(journal)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "fdatasync", fdatasync)
        patch.setattr(segments, "allocate", no_room)
        assert not journal.sync()
        record(journal)
        assert not journal.sync()
        assert (asked, journal.synced_through) == ([segments.segment_name(0)], -1)

    assert journal.sync()
    assert journal.synced_through == 1
    assert read(tmp_path).next_seq == 2


def test_dropped_exchanges_are_not_open_any_more_even_without_room_to_note_it(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [id_bytes(new_id()) for _ in range(150)]
    for event_id in opened:
        journal.began(event_id, encode(began()), 1)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "allocate", no_room)
        with pytest.raises(SpoolFull):
            while True:
                record(journal, b"x" * 200)
        for event_id in opened:
            journal.dropped(event_id, 1)
        assert read(tmp_path).open, "there was room for all the notes, this shows nothing"

    record(journal, b"x" * 200)

    assert read(tmp_path).open == {}


@pytest.mark.parametrize("has_room", [True, False])
def test_half_a_frame_is_taken_back_and_the_event_goes_to_another_segment(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    whole_write = os.pwrite
    record(journal)
    sound = segments.SegmentReader(tmp_path, 0, journal._seed).read(0, is_sealed=True).sound

    def pwrite(fd: int, content: bytes, at: int) -> int:
        is_first = Path(f"/proc/self/fd/{fd}").readlink().name == segments.segment_name(0)
        return whole_write(fd, content[: len(content) // 2] if is_first else content, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    if has_room:
        record(journal, b"x" * 5000)
    else:
        monkeypatch.setattr(segments, "allocate", no_room)
        with pytest.raises(SpoolFull):
            record(journal, b"x" * 5000)

    assert (tmp_path / segments.segment_name(0)).stat().st_size == sound
    assert read(tmp_path).next_seq == 1 + has_room


def test_a_frame_that_is_only_in_the_workers_memory_is_waited_for(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fdatasync(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.name == segments.segment_name(0):
            os.truncate(path, 0)  # the pages are gone
            raise OSError(errno.EIO, "I/O error")

    for _ in range(8):
        record(journal, b"x" * 9000)
    patient, impatient = SpoolReader(tmp_path, SPOOL, patience_s=100), SpoolReader(tmp_path, SPOOL, patience_s=0)
    for reader in (patient, impatient):
        reader.seek(0)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "fdatasync", fdatasync)
        patch.setattr(segments, "allocate", no_room)
        assert not journal.sync()

    assert patient.next(is_dead=False) is None
    assert impatient.next(is_dead=False) == Item(0, None)

    assert journal.sync()
    assert [item.seq for item in iter(lambda: patient.next(is_dead=False), None) if item.frame] == list(range(8))
    for reader in (patient, impatient):
        reader.close()
