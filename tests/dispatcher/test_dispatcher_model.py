"""The worker against any script of a backend, any outage of it and any failures of the bus: all arrive once, only the
bad are buried, and the breaker is open when a backend takes nothing, and only then.

The mutants at the end are bugs that this model has to find.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bus.errors import BusUnavailable
from bus.sqlite_log import SqliteLog
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry, Unknown
from dispatcher.breaker import Breaker
from dispatcher.owed import Owed
from dispatcher.settle import Ack, Backoff, Bury, RetryIn, Settlement, settle
from dispatcher.worker import Pace, Worker
from tests.dispatcher.scripted import ScriptedBackend, at_work, feed, group_of, make_event
from tests.support.waiting import PATIENCE_S, eventually_async

PACE = Pace(batch_size=4, min_idle_ms=60, timeout_ms=1000, backoff=Backoff(1, 3), breaker_failures=3)

trouble = st.sampled_from(["retry", "unknown"])
one_event = st.tuples(st.lists(trouble, max_size=4), st.sampled_from(["ok", "ok", "ok", "permanent"]))
"""What a backend says of one event, delivery by delivery, and how it ends."""
plans = st.lists(one_event, min_size=1, max_size=12)
outages = st.tuples(st.integers(0, 5), st.integers(0, 10))
"""The backend works for so many deliveries, and then takes nothing for so many."""
bus_faults = st.lists(st.sampled_from(["", "", "before", "after"]), max_size=30)
"""For each write of the worker: it works, it fails, or it works and the answer is lost."""


class FaultyLog(SqliteLog):
    """Fails writes as told; reads and claims work."""

    faults: Iterator[str] = iter(())
    has_open_ack = False

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        self.has_open_ack = True
        async with self._fault():
            await super().ack(group, keys)
        self.has_open_ack = False

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        async with self._fault():
            await super().retry_in(group, consumer, keys, delay_ms)

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        async with self._fault():
            return await super().dead_letter(group, consumer, key, reason=reason, detail=detail)
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def _fault(self) -> Any:
        fault = next(self.faults, "")
        if fault == "before":
            raise BusUnavailable("not done")
        yield
        if fault == "after":
            raise BusUnavailable("done, and nobody was told")


class PlannedBackend(ScriptedBackend):
    """Takes a batch event by event, or refuses it whole while anything in it is bad, as `is_strict` says."""

    def __init__(
        self, log: FaultyLog, plan: dict[str, tuple[list[str], str]], outage: tuple[int, int], *, is_strict: bool
    ) -> None:
        super().__init__(self.answer)
        self.log = log
        self.steps = {event: [*steps, end] for event, (steps, end) in plan.items()}
        self.is_strict = is_strict
        self.outage = range(outage[0], sum(outage))
        self.worker: Worker | None = None
        self.failed: list[set[str]] = []
        self.wrongs: set[str] = set()

    async def answer(self, batch: Sequence[Delivered]) -> list[Outcome]:
        ids = [item.event.request_id for item in batch]
        self._watch(ids)
        is_away = len(self.batches) - 1 in self.outage
        outcomes: list[Outcome] = [Retry("away")] * len(ids) if is_away else self._judged(ids)
        self.failed = [] if any(isinstance(outcome, Ok) for outcome in outcomes) else [*self.failed, set(ids)]
        return outcomes

    def _watch(self, ids: list[str]) -> None:
        """What must never be seen by a backend."""
        if self.log.has_open_ack:
            self.wrongs.add("sent while an acknowledgement was owed")
        assert self.worker
        if self.worker.state().breaker == "closed":
            return
        if len(ids) > 1:
            self.wrongs.add("an open breaker let a batch through")
        if len(self.failed) < PACE.breaker_failures:
            self.wrongs.add("the breaker opened too soon")
        if len(set[str]().union(*self.failed)) < 2:
            self.wrongs.add("the breaker opened for one event")

    def _judged(self, ids: list[str]) -> list[Outcome]:
        if self.is_strict and len(ids) > 1 and any(self.steps[i] == ["permanent"] for i in ids):
            return [Permanent("something in here is bad")] * len(ids)
        return [self._next(i) for i in ids]

    def _next(self, event: str) -> Outcome:
        steps = self.steps[event]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        outcomes: dict[str, Outcome] = {"ok": Ok(), "retry": Retry("away"), "unknown": Unknown("cut")}
        return outcomes.get(step, Permanent("bad"))


async def play(
    plan: list[tuple[list[str], str]],
    outage: tuple[int, int],
    faults: list[str],
    *,
    is_strict: bool,
    patience_s: float = PATIENCE_S,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = await FaultyLog.open(Path(folder) / "bus.db")
        assert isinstance(log, FaultyLog)
        log.faults = iter(faults)
        try:
            named = {f"request-{number}": one for number, one in enumerate(plan)}
            await _play(log, named, outage, is_strict=is_strict, patience_s=patience_s)
        finally:
            await log.close()


async def _play(
    log: FaultyLog,
    plan: dict[str, tuple[list[str], str]],
    outage: tuple[int, int],
    *,
    is_strict: bool,
    patience_s: float,
) -> None:
    await log.ensure_groups(["scripted"])
    await feed(log, [make_event(number) for number in range(len(plan))])
    backend = PlannedBackend(log, plan, outage, is_strict=is_strict)

    async def is_settled() -> bool:
        group = await group_of(log)
        return group.pending + group.lag == 0

    async def is_closed() -> bool:
        return worker.state().breaker == "closed"

    async with at_work(backend, log, PACE) as worker:
        backend.worker = worker
        await eventually_async(is_settled, within_s=patience_s)
        await eventually_async(is_closed, within_s=patience_s)

    assert backend.wrongs == set()
    good = sorted(event for event, (_, end) in plan.items() if end == "ok")
    group = await group_of(log)
    assert sorted(backend.taken) == good, "each good event is taken exactly once"
    assert (group.delivered, group.dead) == (len(good), len(plan) - len(good))


@pytest.mark.slow
@settings(max_examples=40)
@given(plans, outages, bus_faults, st.booleans())
async def test_all_arrive_once_and_only_the_bad_are_buried(
    plan: list[tuple[list[str], str]], outage: tuple[int, int], faults: list[str], is_strict: bool
) -> None:
    await play(plan, outage, faults, is_strict=is_strict)


_HANGS_S = 1.0  # then a bug has been found


class ForgetsWhatItOwes(Owed):
    async def pay(self) -> None:
        try:
            await super().pay()
        except BusUnavailable:
            self._open.clear()
            raise


class PaysAcksLast(Owed):
    async def pay(self) -> None:
        if any(isinstance(owed, RetryIn) for owed in self._open.values()):
            self._open = {k: v for k, v in self._open.items() if not isinstance(v, Ack)}
        await super().pay()


def buries_the_fourth_retry(outcome: Outcome, deliveries: int, backoff: Backoff, jitter: float) -> Settlement:
    decided = settle(outcome, deliveries, backoff, jitter)
    return Bury("too_often", "") if isinstance(decided, RetryIn) and deliveries > 3 else decided


def acknowledges_what_is_unknown(outcome: Outcome, deliveries: int, backoff: Backoff, jitter: float) -> Settlement:
    return Ack() if isinstance(outcome, Unknown) else settle(outcome, deliveries, backoff, jitter)


async def believes_whole_batches(deliver: Any, batch: Sequence[Delivered]) -> list[Outcome]:
    outcomes: list[Outcome] = await deliver(batch)
    return outcomes


class OpensForOneEvent(Breaker):
    def failed(self, keys: Collection[str]) -> bool:
        self._is_of_many = True
        return super().failed(keys)


class OpensAtOnce(Breaker):
    def __init__(self, opens_after: int) -> None:
        super().__init__(1)


class StaysOpen(Breaker):
    def answered(self) -> bool:
        return False if self.is_open else super().answered()


class CountsOnThroughSuccess(Breaker):
    def answered(self) -> bool:
        failures, is_of_many, was_open = self._failures, self._is_of_many, super().answered()
        self._failures, self._is_of_many = failures, is_of_many
        return was_open


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("Owed", ForgetsWhatItOwes),
        ("Owed", PaysAcksLast),
        ("settle", buries_the_fourth_retry),
        ("settle", acknowledges_what_is_unknown),
        ("deliver_bisected", believes_whole_batches),
        ("Breaker", OpensForOneEvent),
        ("Breaker", OpensAtOnce),
        ("Breaker", StaysOpen),
        ("Breaker", CountsOnThroughSuccess),
        ("Worker._at_once", PACE.batch_size),
    ],
)
def test_the_model_finds_the_bug_of_a_worker_that(monkeypatch: pytest.MonkeyPatch, name: str, mutant: object) -> None:
    monkeypatch.setattr(f"dispatcher.worker.{name}", mutant)

    @settings(max_examples=1000, phases=[Phase.generate], database=None, derandomize=True)
    @given(plans, outages, bus_faults, st.booleans())
    def hunt(plan: list[tuple[list[str], str]], outage: tuple[int, int], faults: list[str], is_strict: bool) -> None:
        asyncio.run(play(plan, outage, faults, is_strict=is_strict, patience_s=_HANGS_S))

    with pytest.raises((AssertionError, ExceptionGroup)):
        hunt()
