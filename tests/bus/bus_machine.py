"""A model of the bus: whatever producers and consumers do, and whoever dies, no appended event is lost.

The same rules for every bus; each kind's test gives it the bus, and the bugs that it must find.
"""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bus.bus import AppendResult, AppendStatus, Delivery, Entry

GROUPS = ("database", "file")
SPOOLS = (b"spool-a", b"spool-b")
MIN_IDLE_MS = 1000

HUNT = settings(
    max_examples=3000, stateful_step_count=30, deadline=None, phases=[Phase.generate], database=None, derandomize=True
)


class BusMachine(RuleBasedStateMachine):
    """What a bus of a kind adds: how it is opened, how time passes for it, and what still lies in it."""

    acks_before_it_sends = False
    min_idle_ms = MIN_IDLE_MS

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
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

    def open_log(self) -> Any:
        """A Bus; at a restart the same again."""
        raise NotImplementedError

    def close_log(self) -> None:
        self.run(self.log.close())

    def pass_time(self, ms: int) -> None:
        raise NotImplementedError

    def in_the_log(self, group: str) -> set[bytes]:
        """Dead, or leased with the payload still there, or not handed out yet."""
        raise NotImplementedError

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
        entries = [Entry(event, b"<" + event + b">") for event in known[first:]]
        result = self.run(self.log.append(spool, 1, first, entries))
        assert result == AppendResult(AppendStatus.OK, 1, len(known) - 1, new)

    @rule(group=st.sampled_from(GROUPS), count=st.integers(1, 4))
    def read(self, group: str, count: int) -> None:
        self.take(group, self.run(self.log.read(group, self.me(group), max_entries=count, max_bytes=10**6, block_ms=0)))

    @rule(group=st.sampled_from(GROUPS), count=st.integers(1, 5))
    def claim(self, group: str, count: int) -> None:
        self.take(
            group, self.run(self.log.claim(group, self.me(group), min_idle_ms=self.min_idle_ms, max_entries=count))
        )

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
        self.pass_time(ms)

    @rule()
    def trim(self) -> None:
        self.run(self.log.trim())

    @rule()
    def keeper_restarts(self) -> None:
        self.close_log()
        self.log = self.open_log()
        for group in GROUPS:
            self.consumer_dies(group)

    @rule()
    def everything_arrives_in_the_end(self) -> None:
        for group in GROUPS:
            self.consumer_dies(group)
            self.pass_time(10 * MIN_IDLE_MS)
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

    def teardown(self) -> None:
        self.close_log()
        self.loop.close()
