"""A lot on a real disk: whatever happens to its dispatcher, what is in it comes out again, and in order."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bus.bus import Delivery
from bus.frames import HEADER_BYTES, MAGIC
from bus.lots import LotMarks
from bus.ownership import LOCK, spools, take
from bus.segments import list_segments, segment_name
from dispatcher.lot import Lot
from tests.support.waiting import eventually

MAX_BYTES = 2 * 1024**2


def delivery(number: int, size: int = 10) -> Delivery:
    event_id = number.to_bytes(16, "big")
    return Delivery(str(number), event_id, 1, event_id + b"x" * size)


def numbers(lot: Lot, count: int = 1000) -> list[int]:
    """Of the events that come next; -1 for one that damage took."""
    return [int.from_bytes(event.event_id, "big") if event.payload else -1 for event in lot.peek(count, 1024**3)]


def folder_of(root: Path) -> tuple[bytes, Path]:
    ((lot, folder),) = spools(root).items()
    return lot, folder


def reopened(root: Path) -> Lot:
    lot, folder = folder_of(root)
    lock = take(folder / LOCK)
    assert lock is not None
    return Lot.adopt(lot, folder, lock)


def test_events_come_out_in_order_while_more_are_put_in(tmp_path: Path) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)
    assert lot.append([delivery(n) for n in range(50)]) == 50

    first = numbers(lot, 30)
    lot.note(LotMarks(50, 30, 0))
    lot.append([delivery(n) for n in range(50, 60)])

    assert first + numbers(lot) == list(range(60))
    assert (lot.left, lot.place.next) == (30, 30)
    lot.remove()


def test_room_comes_back_as_events_are_settled(tmp_path: Path) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)
    put = 0
    while lot.append([delivery(put, 10_000)]):
        put += 1
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.seg"))

    assert (lot.full_because, lot.has_room(), lot.holds) == ("spool_full", False, put)
    assert MAX_BYTES * 3 // 4 < size <= MAX_BYTES, "bounded, and the bound is used"
    assert numbers(lot) == list(range(put))
    lot.note(LotMarks(put, put, put // 2))
    eventually(lot.has_room)
    assert lot.append([delivery(put)]) == 1
    assert numbers(lot) == [put]
    lot.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_finds_room_for_a_part_says_for_which(tmp_path: Path) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)

    count = lot.append([delivery(n, 100_000) for n in range(100)])

    assert 0 < count < 100
    assert numbers(lot) == list(range(count))
    lot.close()


def test_a_rotten_event_costs_itself_and_keeps_its_number(tmp_path: Path) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)
    lot.append([delivery(n, 100) for n in range(5)])
    rot(tmp_path, 2)

    assert numbers(lot) == [0, 1, -1, 3, 4], "read by the one who wrote it"
    assert lot.append([delivery(9)]) == 0, "and no more is written there"
    lot.close()
    lot = reopened(tmp_path)
    assert numbers(lot) == [0, 1, -1, 3, 4]
    lot.close()


def test_what_rotted_at_the_end_is_missed_when_the_bus_had_counted_it(tmp_path: Path) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)
    lot.append([delivery(n, 100) for n in range(5)])
    lot.close()
    rot(tmp_path, 4)

    lot = reopened(tmp_path)
    alone = numbers(lot)
    lot.note(LotMarks(5, 0, 0))

    assert (alone, numbers(lot)) == ([0, 1, 2, 3], [0, 1, 2, 3, -1])
    lot.close()


def rot(root: Path, number: int) -> None:
    _, folder = folder_of(root)
    with (folder / segment_name(0)).open("r+b") as file:
        file.seek(HEADER_BYTES + number * (HEADER_BYTES + 116) + HEADER_BYTES + 50)
        file.write(b"rotten")


def test_a_torn_tail_is_cut(tmp_path: Path) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)
    lot.append([delivery(n, 100) for n in range(5)])
    lot.close()
    _, folder = folder_of(tmp_path)
    os.truncate(folder / segment_name(0), HEADER_BYTES + 4 * (HEADER_BYTES + 116) + 70)

    lot = reopened(tmp_path)

    assert (lot.holds, numbers(lot)) == (4, [0, 1, 2, 3])
    assert (folder / segment_name(0)).stat().st_size == HEADER_BYTES + 4 * (HEADER_BYTES + 116)
    lot.close()


def test_a_full_disk_parks_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lot = Lot.make(tmp_path, MAX_BYTES)
    lot.append([delivery(0)])

    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("bus.segments.fdatasync", refuse)
        assert lot.append([delivery(1)]) == 0, "not confirmed is not parked"
    assert lot.holds == 1
    assert lot.append([delivery(2)]) == 1

    assert numbers(lot) == [0, 1, 2], "what was not confirmed may come twice, never not at all"
    lot.close()


class LotMachine(RuleBasedStateMachine):
    """A lot and a bus that may forget; the model knows what was put in, and what is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())  # one a life
        self.lot = Lot.make(self.root, MAX_BYTES)
        self.put = 0
        self.counted = self.returned = self.settled = 0

    @precondition(lambda self: self.lot.is_writable)
    @rule(count=st.integers(1, 8), size=st.sampled_from([1, 100, 20_000]))
    def park(self, count: int, size: int) -> None:
        safe = self.lot.append([delivery(self.put + n, size) for n in range(count)])
        self.put += safe
        if safe < count:
            assert self.lot.full_because
            self.lot.seal()  # parts of a refused batch would have numbers that the model does not know

    @rule()
    def is_counted(self) -> None:
        self.counted = max(self.counted, self.lot.holds)
        self.tell()

    @rule(most=st.integers(1, 10))
    def come_back(self, most: int) -> None:
        first = self.lot.place.next
        came = numbers(self.lot, most)
        assert came == list(range(first, min(first + most, self.put)))
        self.counted = max(self.counted, self.lot.holds)
        if first <= self.returned:
            self.returned = max(self.returned, first + len(came))
        self.tell()

    @rule(count=st.integers(1, 10))
    def settle(self, count: int) -> None:
        self.settled = min(self.returned, self.settled + count)
        self.tell()

    @rule(back=st.integers(1, 10))
    def the_bus_forgets(self, back: int) -> None:
        """A failover: it has less than it had, never less than the lot knows to be settled."""
        self.returned = max(self.lot.settled, self.returned - back)
        self.settled = min(self.settled, self.returned)
        self.tell()

    @rule(is_killed=st.booleans())
    def its_dispatcher_dies(self, is_killed: bool) -> None:
        left = Path(tempfile.mkdtemp())
        shutil.copytree(self.root, left, dirs_exist_ok=True)  # as it lies there without a word of farewell
        self.lot.close()
        if is_killed:
            self.root, left = left, self.root
            _, folder = folder_of(self.root)
            with (folder / segment_name(list_segments(folder)[-1])).open("ab") as torn:
                torn.write(MAGIC + b"a frame of which no more was written")
        shutil.rmtree(left)
        self.lot = reopened(self.root)

    def tell(self) -> None:
        self.lot.note(LotMarks(self.counted, max(self.returned, self.lot.settled), self.settled))
        self.returned = max(self.returned, self.lot.settled)

    @invariant()
    def nothing_that_is_not_settled_is_missing(self) -> None:
        assert self.lot.holds == self.put
        assert self.lot.settled <= self.returned
        assert self.lot.left == self.put - self.lot.next

    def teardown(self) -> None:
        self.lot.note(LotMarks(self.put, self.lot.settled, self.lot.settled))
        assert numbers(self.lot) == list(range(self.lot.settled, self.put)), "all that is not settled, in order"
        self.lot.close()
        shutil.rmtree(self.root)


TestLotMachine = LotMachine.TestCase
TestLotMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
pytest.mark.slow(TestLotMachine)
