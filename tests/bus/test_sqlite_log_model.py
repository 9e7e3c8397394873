"""The model of the bus on the embedded log.

The mutants at the end are bugs of the usual kinds; a model that stops finding them is broken.
"""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from bus.sqlite_log import SqliteLog
from tests.bus.bus_machine import HUNT, BusMachine


class HeldClock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ns(self) -> int:
        return self.ms * 1_000_000


class SqliteMachine(BusMachine):
    log_class: type[SqliteLog] = SqliteLog
    log: SqliteLog

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HeldClock()
        super().__init__()

    def open_log(self) -> SqliteLog:
        log: SqliteLog = self.run(self.log_class.open(Path(self.folder.name) / "bus.db", self.clock))
        self.run(log._on_thread(lambda on: on.execute("PRAGMA synchronous=OFF").fetchall()))  # no power fails here
        return log

    def pass_time(self, ms: int) -> None:
        self.clock.ms += ms

    def in_the_log(self, group: str) -> set[bytes]:
        """Dead, or leased with the payload still there, or not handed out yet."""

        def ask(on: sqlite3.Connection) -> set[bytes]:
            return {row[0] for row in on.execute(IN_THE_LOG, {"grp": group})}

        return self.run(self.log._on_thread(ask))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


IN_THE_LOG = """
    SELECT event_id FROM dead_letters WHERE grp = :grp
    UNION SELECT event_id FROM leases JOIN events USING (seq) WHERE grp = :grp
    UNION SELECT event_id FROM events WHERE seq >= (SELECT next_seq FROM groups WHERE name = :grp)
"""

SOUND = settings(max_examples=60, stateful_step_count=30, deadline=None)

TestBusModel = SqliteMachine.TestCase
TestBusModel.settings = SOUND
pytest.mark.slow(TestBusModel)


class TrimsUnderLeases(SqliteLog):
    async def trim(self) -> int:
        await self._write(
            lambda on: on.execute("DELETE FROM events WHERE seq < (SELECT MIN(next_seq) FROM groups)").rowcount
        )
        return 0


class TrimsByLength(SqliteLog):
    async def trim(self) -> int:
        return await self._write(
            lambda on: on.execute("DELETE FROM events WHERE seq < (SELECT last_seq - 4 FROM log)").rowcount
        )


class BeginsGroupsAtTheEnd(SqliteLog):
    async def ensure_groups(self, names: Any) -> None:
        await super().ensure_groups(names)
        await self._write(lambda on: on.execute("UPDATE groups SET next_seq = (SELECT last_seq + 1 FROM log)"))


class ForgetsLeasesOnRestart(SqliteLog):
    @classmethod
    async def open(cls, path: Path, clock: Any = None) -> "SqliteLog":
        log = await super().open(path, clock)
        await log._write(lambda on: on.execute("DELETE FROM leases"))
        return log


class GivesBackByForgetting(SqliteLog):
    async def retry_in(self, group: str, consumer: str, keys: Any, delay_ms: int) -> None:
        await self.ack(group, keys)


class BuriesWithoutAskingWhose(SqliteLog):
    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        await self.ack(group, [key])
        return True


class AppendsResendsAgain(SqliteLog):
    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Any) -> Any:
        known = await super().append(spool, epoch, 0, [])
        return await super().append(spool, epoch, known.high_water + 1, entries)


class CountsHandedOutAsDelivered(SqliteLog):
    async def delivered_through(self, spool: bytes) -> int:
        return (await self.append(spool, 1, 0, [])).high_water


class AcksFirst(SqliteMachine):
    acks_before_it_sends = True


@pytest.mark.slow
@pytest.mark.parametrize(
    "log_class",
    [
        TrimsUnderLeases,
        TrimsByLength,
        BeginsGroupsAtTheEnd,
        ForgetsLeasesOnRestart,
        GivesBackByForgetting,
        BuriesWithoutAskingWhose,
        AppendsResendsAgain,
        CountsHandedOutAsDelivered,
    ],
)
def test_the_model_finds_the_bug_in_a_log_that(log_class: type[SqliteLog]) -> None:
    machine = type("Mutant", (SqliteMachine,), {"log_class": log_class})

    with pytest.raises((AssertionError, TypeError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=HUNT)


@pytest.mark.slow
def test_the_model_finds_a_consumer_that_acks_before_it_sends() -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(AcksFirst, settings=HUNT)
