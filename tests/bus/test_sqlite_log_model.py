"""A model of the bus: whatever producers and consumers do, and whoever dies, no appended event is lost.

The mutants at the end are bugs of the usual kinds; a model that stops finding them is broken.
"""

import asyncio
import itertools
import sqlite3
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bus.bus import Delivery, Entry
from bus.sqlite_log import SqliteLog

GROUPS = ("database", "file")
SPOOLS = (b"spool-a", b"spool-b")
MIN_IDLE_MS = 1000


class HeldClock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ns(self) -> int:
        return self.ms * 1_000_000


class BusMachine(RuleBasedStateMachine):
    log_class: type[SqliteLog] = SqliteLog
    acks_before_it_sends = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HeldClock()
        self.log = self.open_log()
        self.spooled: dict[bytes, list[bytes]] = {spool: [] for spool in SPOOLS}
        self.sink: dict[str, list[bytes]] = {group: [] for group in GROUPS}
        self.settled: dict[str, set[bytes]] = {group: set() for group in GROUPS}
        self.buried: dict[str, set[bytes]] = {group: set() for group in GROUPS}
        self.in_hand: dict[str, dict[str, Delivery]] = {group: {} for group in GROUPS}
        self.consumer = dict.fromkeys(GROUPS, 1)
        self.keys: dict[bytes, str] = {}
        self.numbers = itertools.count()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def open_log(self) -> SqliteLog:
        log: SqliteLog = self.run(self.log_class.open(Path(self.folder.name) / "bus.db", self.clock))
        self.run(log._on_thread(lambda on: on.execute("PRAGMA synchronous=OFF").fetchall()))  # no power fails here
        return log

    def me(self, group: str) -> str:
        return f"{group}-{self.consumer[group]}"

    @initialize(early=st.integers(0, 3))
    def groups_come_when_events_are_there(self, early: int) -> None:
        self.append_new(SPOOLS[0], early, resent=0)
        self.run(self.log.ensure_groups(GROUPS))

    @rule(spool=st.sampled_from(SPOOLS), new=st.integers(0, 5), resent=st.integers(0, 4))
    def append_new(self, spool: bytes, new: int, resent: int) -> None:
        known = self.spooled[spool]
        first = max(0, len(known) - resent)
        known += [f"event-{next(self.numbers)}".encode() for _ in range(new)]
        self.run(self.log.append(spool, 1, first, [Entry(event, b"<" + event + b">") for event in known[first:]]))

    @rule(group=st.sampled_from(GROUPS), count=st.integers(1, 4))
    def read(self, group: str, count: int) -> None:
        self.take(group, self.run(self.log.read(group, self.me(group), max_entries=count, max_bytes=10**6, block_ms=0)))

    @rule(group=st.sampled_from(GROUPS), count=st.integers(1, 5))
    def claim(self, group: str, count: int) -> None:
        self.take(group, self.run(self.log.claim(group, self.me(group), min_idle_ms=MIN_IDLE_MS, max_entries=count)))

    def take(self, group: str, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.payload == b"<" + delivery.event_id + b">"
            assert self.keys.setdefault(delivery.event_id, delivery.key) == delivery.key, "an event is there twice"
            self.in_hand[group][delivery.key] = delivery

    def any_in_hand(self) -> bool:
        return any(self.in_hand.values())

    def choose(self, data: st.DataObject) -> tuple[str, Delivery]:
        group = data.draw(st.sampled_from([group for group in GROUPS if self.in_hand[group]]))
        key = data.draw(st.sampled_from(sorted(self.in_hand[group])))
        return group, self.in_hand[group].pop(key)

    @precondition(any_in_hand)
    @rule(data=st.data(), dies_between=st.booleans())
    def deliver(self, data: st.DataObject, dies_between: bool) -> None:
        group, delivery = self.choose(data)
        steps = [lambda: self.send(group, delivery), lambda: self.ack(group, delivery)]
        if self.acks_before_it_sends:
            steps.reverse()
        for step in steps[: 1 if dies_between else 2]:
            step()

    def send(self, group: str, delivery: Delivery) -> None:
        self.sink[group].append(delivery.event_id)

    def ack(self, group: str, delivery: Delivery) -> None:
        self.settled[group].add(delivery.event_id)
        self.run(self.log.ack(group, [delivery.key]))

    @precondition(any_in_hand)
    @rule(data=st.data(), delay_ms=st.integers(0, 3000))
    def give_back(self, data: st.DataObject, delay_ms: int) -> None:
        group, delivery = self.choose(data)
        self.run(self.log.retry_in(group, self.me(group), [delivery.key], delay_ms))

    @precondition(any_in_hand)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        group, delivery = self.choose(data)
        if self.run(self.log.dead_letter(group, self.me(group), delivery.key, reason="permanent", detail="")):
            assert delivery.event_id not in self.settled[group], "a zombie buried what was delivered"
            self.buried[group].add(delivery.event_id)
            self.settled[group].add(delivery.event_id)

    @rule(group=st.sampled_from(GROUPS))
    def consumer_dies(self, group: str) -> None:
        self.in_hand[group].clear()
        self.consumer[group] += 1

    @rule(group=st.sampled_from(GROUPS))
    def another_consumer_comes_and_the_old_one_goes_on(self, group: str) -> None:
        self.consumer[group] += 1

    @rule(ms=st.sampled_from([1, MIN_IDLE_MS // 2, MIN_IDLE_MS]))
    def time_passes(self, ms: int) -> None:
        self.clock.ms += ms

    @rule()
    def trim(self) -> None:
        self.run(self.log.trim())

    @rule()
    def keeper_restarts(self) -> None:
        self.run(self.log.close())
        self.log = self.open_log()
        for group in GROUPS:
            self.consumer_dies(group)

    @rule()
    def everything_arrives_in_the_end(self) -> None:
        for group in GROUPS:
            self.consumer_dies(group)
            self.clock.ms += 10 * MIN_IDLE_MS
            self.read(group, 1000)
            self.claim(group, 1000)
            while self.in_hand[group]:
                for delivery in list(self.in_hand[group].values()):
                    self.send(group, delivery)
                    self.ack(group, self.in_hand[group].pop(delivery.key))
                self.claim(group, 1000)  # suspects come one by one
            assert self.appended() == set(self.sink[group]) | self.buried[group]

    @invariant()
    def nothing_is_lost(self) -> None:
        for group in GROUPS:
            missing = self.appended() - set(self.sink[group]) - self.in_the_log(group)
            assert not missing, f"{group} lost {missing}"

    @invariant()
    def the_ledger_closes(self) -> None:
        stats = self.run(self.log.stats())
        assert stats.appended == len(self.appended())
        for group in stats.groups:
            assert group.delivered + group.dead + group.pending + group.lag == stats.appended

    @invariant()
    def only_what_is_delivered_may_leave_the_spool(self) -> None:
        everywhere = set.intersection(*self.settled.values())
        is_all_settled = everywhere == self.appended()
        for spool, events in self.spooled.items():
            first_open = next((n for n, event in enumerate(events) if event not in everywhere), len(events))
            through = self.run(self.log.delivered_through(spool))
            assert through < first_open, "the spool may delete what is not delivered"
            assert through == len(events) - 1 or not is_all_settled, "the spool keeps what is delivered"

    def appended(self) -> set[bytes]:
        return {event for events in self.spooled.values() for event in events}

    def in_the_log(self, group: str) -> set[bytes]:
        """Dead, or leased with the payload still there, or not handed out yet."""

        def ask(on: sqlite3.Connection) -> set[bytes]:
            return {row[0] for row in on.execute(IN_THE_LOG, {"grp": group})}

        return self.run(self.log._on_thread(ask))

    def teardown(self) -> None:
        self.run(self.log.close())
        self.loop.close()
        self.folder.cleanup()


IN_THE_LOG = """
    SELECT event_id FROM dead_letters WHERE grp = :grp
    UNION SELECT event_id FROM leases JOIN events USING (seq) WHERE grp = :grp
    UNION SELECT event_id FROM events WHERE seq >= (SELECT next_seq FROM groups WHERE name = :grp)
"""

SOUND = settings(max_examples=60, stateful_step_count=30, deadline=None)
HUNT = settings(
    max_examples=300, stateful_step_count=30, deadline=None, phases=[Phase.generate], database=None, derandomize=True
)


TestBusModel = BusMachine.TestCase
TestBusModel.settings = SOUND


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


class AcksFirst(BusMachine):
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
    machine = type("Mutant", (BusMachine,), {"log_class": log_class})

    with pytest.raises((AssertionError, TypeError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=HUNT)


@pytest.mark.slow
def test_the_model_finds_a_consumer_that_acks_before_it_sends() -> None:
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(AcksFirst, settings=HUNT)
