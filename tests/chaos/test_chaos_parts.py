"""The judge and the schedule themselves: a chaos run that cannot fail proves nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.catalogue import KINDS, kinds_for
from tests.chaos.checker import Verdict, check
from tests.chaos.evidence import POISON, Diary
from tests.chaos.ledger import Ledger
from tests.chaos.schedule import endless, once_each
from tests.chaos.shrink import shrink
from tests.chaos.sink import LOG

_BACKENDS = ("file", "database", "webhook")
_BODY = msgspec.json.encode({"model": "m"})


class Round:
    """A round that is over: three calls, all answered, all delivered to both backends, until a test changes it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.records = folder, folder / "records.db"
        (folder / "out").mkdir()
        self.lines = [self.line(f"e{number}", f"r{number}") for number in range(3)]
        self.noted = [f"e{number} r{number} - 1 0\n" for number in range(3)]
        self.rows = [(f"e{number}", f"r{number}") for number in range(3)]
        self.ledger = Ledger(
            recorded=3, appended=3, lost=0, dropped={}, bodies_dropped=0, interrupted=0, spools_left=0,
            open=dict.fromkeys(_BACKENDS, 0), delivered=dict.fromkeys(_BACKENDS, 3), dead={},
        )  # fmt: skip
        with Diary(folder, "load") as diary:
            for number in range(3):
                diary.sent(f"r{number}", _BODY)
                diary.seen(f"e{number}", f"r{number}")
                diary.acked(f"e{number}", f"r{number}", 200, 1)

    @staticmethod
    def line(event_id: str, request_id: str, body: bytes = _BODY) -> bytes:
        metadata = {"request_id": request_id, "status": 200}
        return msgspec.json.encode({"event_id": event_id, "input": msgspec.Raw(body), "metadata": metadata}) + b"\n"

    def verdict(self, *, may_drop: bool = False) -> Verdict:
        (self.folder / "out" / "events.jsonl").write_bytes(b"".join(self.lines))
        (self.folder / LOG).write_text("".join(self.noted))
        with closing(sqlite3.connect(self.records)) as database, database:
            database.execute("CREATE TABLE requests (event_id TEXT PRIMARY KEY, request_id TEXT, status INTEGER)")
            database.execute("CREATE TABLE request_bodies (event_id TEXT, side TEXT, data BLOB, truncated INTEGER)")
            database.executemany("INSERT INTO requests VALUES (?, ?, 200)", self.rows)
        return check(self.folder, ledger=self.ledger, database=self.records, may_drop=may_drop)


@pytest.fixture
def over(tmp_path: Path) -> Round:
    return Round(tmp_path)


def test_a_round_in_which_all_arrived_is_good(over: Round) -> None:
    assert over.verdict().problems == ()


def test_a_lost_event_is_seen(over: Round) -> None:
    over.rows.pop()

    problems = over.verdict().problems

    assert any("1 LOST" in problem for problem in problems)
    assert any("3 delivered, there are 2" in problem for problem in problems)


def test_an_event_that_the_ledger_admits_is_no_loss_where_there_was_no_room(over: Round) -> None:
    over.rows.pop()
    over.lines.pop()
    over.noted.pop()
    over.ledger = msgspec.structs.replace(
        over.ledger, recorded=2, appended=2, dropped={"disk_full": 1}, delivered={**dict.fromkeys(_BACKENDS, 2)}
    )

    assert over.verdict(may_drop=True).problems == ()


def test_an_admitted_event_is_a_problem_where_there_was_room(over: Round) -> None:
    over.rows.pop()
    over.lines.pop()
    over.noted.pop()
    over.ledger = msgspec.structs.replace(
        over.ledger, recorded=2, appended=2, dropped={"disk_full": 1}, delivered={**dict.fromkeys(_BACKENDS, 2)}
    )

    assert any("1 events dropped" in problem for problem in over.verdict().problems)


def test_a_duplicate_a_phantom_and_another_body_are_seen(over: Round) -> None:
    over.lines += [over.line("e0", "r0"), over.line("e9", "nobody-sent-this")]
    over.lines[1] = over.line("e1", "r1", b'{"model":"another"}')

    problems = "\n".join(over.verdict().problems)

    assert "1 duplicates" in problems
    assert "1 events of calls that nobody made" in problems
    assert "1 events with another body" in problems


def test_what_a_backend_without_keys_gets_twice_counts_as_doubled_on_the_wire(over: Round) -> None:
    over.noted.append(over.noted[0])

    verdict = over.verdict()

    assert verdict.problems == ()
    assert [(b.wire_duplicates, b.visible_duplicates) for b in verdict.backends] == [(0, 0), (0, 0), (1, 0)]


def test_only_poison_may_be_buried(over: Round) -> None:
    over.noted.pop()
    over.ledger = msgspec.structs.replace(
        over.ledger, delivered={**over.ledger.delivered, "webhook": 2}, dead={"webhook": {"e2"}}
    )

    problems = over.verdict().problems
    (over.folder / POISON).write_text("webhook r2\n")
    over.records.unlink()

    assert problems == ("webhook: 1 dead letters, 1 of them no poison, 0 were made",)
    assert over.verdict().problems == ()


def test_a_call_with_two_events_is_seen(over: Round) -> None:
    over.rows.append(("e7", "r0"))

    assert any("1 calls with more than one event" in problem for problem in over.verdict().problems)


def test_a_ledger_that_does_not_close_is_seen(over: Round) -> None:
    over.ledger = msgspec.structs.replace(over.ledger, recorded=4, open={**dict.fromkeys(_BACKENDS, 0), "file": 1})

    problems = "\n".join(over.verdict().problems)

    assert "4 recorded - 0 lost != 3 in the bus" in problems
    assert "ledger of file" in problems


def test_a_seed_makes_the_same_schedule_again() -> None:
    kinds = kinds_for("embedded")

    assert once_each(kinds, 5) == once_each(kinds, 5) != once_each(kinds, 6)
    assert endless(kinds, 5)(50) == endless(kinds, 5)(50)


def test_an_endless_schedule_uses_every_kind_as_often_as_every_other() -> None:
    kinds = kinds_for("embedded")
    steps = endless(kinds, 1)(3 * len(kinds))

    used = [name for step in steps for name in step.kinds]

    assert {used.count(kind.name) for kind in kinds} <= {2, 3, 4, 5}
    assert all(len(step.kinds) == 1 for step in steps if any(KINDS[name].is_alone for name in step.kinds))


@given(st.sets(st.integers(0, 30), min_size=1, max_size=3), st.integers(1, 40))
def test_shrinking_keeps_what_fails_and_stays_within_its_bound(guilty: set[int], max_runs: int) -> None:
    runs = []

    def fails(steps: object) -> bool:
        runs.append(steps)
        return guilty <= set(steps)  # type: ignore[call-overload]

    shortest = shrink(range(31), fails, max_runs=max_runs)

    assert guilty <= set(shortest)
    assert len(runs) <= max_runs


def test_shrinking_finds_one_guilty_step_in_a_dozen() -> None:
    assert shrink(range(12), lambda steps: 7 in steps, max_runs=12) == [7]
