"""The worker that parks against any outages of its backend, any failures of the bus and deaths between any two steps of
parking: every event arrives, in order and once unless somebody died, and the ledger closes all the time.

The mutants at the end are bugs that this model has to find.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.bus import Delivery
from bus.errors import BusUnavailable
from bus.lots import LotMarks, LotPlace, Parked
from bus.sqlite_log import SqliteLog
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry
from dispatcher.lots import Ground, OwnLots
from dispatcher.settle import Backoff
from dispatcher.worker import Pace, Worker
from tests.dispatcher.scripted import ScriptedBackend, feed, group_of, make_event
from tests.support.waiting import eventually_async

PACE = Pace(batch_size=4, min_idle_ms=60, timeout_ms=1000, backoff=Backoff(1, 3), breaker_failures=2, probe_max_ms=3)

acts = st.lists(st.sampled_from(["feed", "feed", "away", "back", "restart"]), min_size=1, max_size=7)
"""What happens from outside, one after the other, each when the worker has gone on for a while."""
bus_faults = st.lists(st.sampled_from(["", "", "", "before", "after", "dies before", "dies after"]), max_size=25)
"""For each write of the worker: it works, it fails, it works and the answer is lost, the worker dies around it."""
bad_ones = st.sets(st.integers(0, 30), max_size=2)


class Died(Exception):
    """In place of a kill: nothing is said any more, and whoever comes next finds what is on disk and on the bus."""


class FaultyLog(SqliteLog):
    faults: list[str]
    turns = 0
    deaths = 0

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        self.turns += 1
        return await super().read(
            group, consumer, max_entries=max_entries, max_bytes=max_bytes, block_ms=min(block_ms, 2)
        )

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        async with self._fault():
            await super().ack(group, keys)

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        async with self._fault():
            await super().retry_in(group, consumer, keys, delay_ms)

    async def park(self, group: str, keys: Sequence[str]) -> None:
        async with self._fault():
            await super().park(group, keys)

    async def unpark(
        self, group: str, lot: bytes, place: LotPlace, events: Sequence[Parked] = (), *, room: int = 0
    ) -> LotMarks:
        async with self._fault():
            return await super().unpark(group, lot, place, events, room=room)
        raise AssertionError("unreachable")

    async def end_lot(self, group: str, lot: bytes) -> None:
        async with self._fault():
            await super().end_lot(group, lot)

    @contextlib.asynccontextmanager
    async def _fault(self) -> AsyncIterator[None]:
        fault = self.faults.pop(0) if self.faults else ""
        if fault.endswith("before"):
            self._fail(is_death=fault.startswith("dies"))
        yield
        if fault.endswith("after"):
            self._fail(is_death=fault.startswith("dies"))

    def _fail(self, *, is_death: bool) -> None:
        if is_death:
            self.deaths += 1
            raise Died
        raise BusUnavailable("it does not answer")


class Play:
    """One log, one backend, and one worker after the other."""

    def __init__(self, log: FaultyLog, folder: Path, bad: set[int]) -> None:
        self.log, self.folder = log, folder
        self.bad = {f"request-{number}" for number in bad}
        self.backend = ScriptedBackend(self.answer)
        self.is_away = False
        self.tried: set[str] = set()
        self.fed = 0
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.live())

    async def answer(self, batch: Sequence[Delivered]) -> list[Outcome]:
        ids = [item.event.request_id for item in batch]
        if self.is_away:
            self.tried.update(ids)
            return [Retry("away")] * len(ids)
        return [Permanent("bad", is_sure=True) if i in self.bad else Ok() for i in ids]

    async def live(self) -> None:
        """From death to death, as a fleet and a supervisor would have it."""
        lives = 0
        ground = Ground(self.log, self.folder, after_ms=1, max_bytes=16 * 1024**2, rate=100_000)
        while not self.stop.is_set():
            lives += 1
            worker = Worker(self.backend, self.log, f"c{lives}", PACE, self.stop, ground=ground)
            with contextlib.suppress(Died):
                await worker.run()

    async def act(self, act: str) -> None:
        if act in ("away", "back"):
            self.is_away = act == "away"
        if act in ("feed", "back"):
            await feed(self.log, [make_event(number) for number in range(self.fed, self.fed + 6)])
            self.fed += 6
        if act == "restart":
            await self.end()
            self.stop = asyncio.Event()
            self.task = asyncio.create_task(self.live())
        turns = self.log.turns + 4
        await eventually_async(lambda: self.has_gone_on(turns))

    async def has_gone_on(self, turns: int) -> bool:
        await self.closes()
        return self.log.turns >= turns

    async def closes(self) -> None:
        if self.task.done():
            await self.task
        stats = await self.log.stats()
        (group,) = stats.groups
        known = group.delivered + group.dead + group.pending + group.lag + group.earlier + group.parked + group.lost
        assert known == stats.appended == self.fed

    async def all_is_settled(self) -> bool:
        await self.closes()
        group = await group_of(self.log)
        return group.pending + group.lag + group.parked == 0

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(60):
            await self.task


async def play(acts: list[str], faults: list[str], bad: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = await FaultyLog.open(Path(folder) / "bus.db")
        assert isinstance(log, FaultyLog)
        log.faults = list(faults)
        await log.ensure_groups(["scripted"])
        playing = Play(log, Path(folder) / "parking", bad)
        try:
            await playing.act("feed")
            for act in acts:
                await playing.act(act)
            playing.is_away = False
            await eventually_async(playing.all_is_settled)
        finally:
            await playing.end()
            left = await group_of(log)
            await log.close()
        judge(playing, left.earlier, left.lost)


def judge(playing: Play, earlier: int, lost: int) -> None:
    taken = playing.backend.taken
    wanted = {f"request-{number}" for number in range(playing.fed)} - playing.bad
    assert set(taken) == wanted
    assert (lost, earlier <= 0) == (0, True)
    if not playing.log.deaths:
        assert len(taken) == len(wanted), "each once"
        assert earlier == 0
        new = [int(i.rpartition("-")[2]) for i in taken if i not in playing.tried]
        assert new == sorted(new), "in order"


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(acts, bus_faults, bad_ones)
async def test_all_arrive_once_and_in_order_whatever_fails(acts: list[str], faults: list[str], bad: set[int]) -> None:
    await play(acts, faults, bad)


class AcknowledgesBeforeItWrites(OwnLots):
    async def append(self, deliveries: Sequence[Delivery]) -> int:
        await self._bus.park(self._backend, [delivery.key for delivery in deliveries])
        return await super().append(deliveries)


class ForgetsWhatItHasToAcknowledge(OwnLots):
    async def hand_over(self) -> None:
        try:
            await super().hand_over()
        except BusUnavailable:
            self._safe.clear()
            raise


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "fault"), [(AcknowledgesBeforeItWrites, "dies after"), (ForgetsWhatItHasToAcknowledge, "before")]
)
async def test_the_model_finds_the_bug_of_one_that(
    monkeypatch: pytest.MonkeyPatch, mutant: type[OwnLots], fault: str
) -> None:
    monkeypatch.setattr("dispatcher.parking.OwnLots", mutant)

    with pytest.raises((AssertionError, ExceptionGroup)):
        for step in range(30):
            await play(["away", "feed", "feed"], [""] * step + [fault], set())
