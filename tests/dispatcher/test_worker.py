"""The loop on a real log: what is acknowledged when, what comes again, what is buried, how it stops."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bus.bus import Entry
from bus.errors import BusUnavailable
from bus.sqlite_log import SqliteLog
from dispatcher.backends.base import BackendUnavailable, Delivered, Ok, Outcome, Permanent, Retry, Unknown
from dispatcher.settle import Backoff
from dispatcher.worker import Pace, Worker
from tests.dispatcher.scripted import QUICK, Script, ScriptedBackend, at_work, feed, feed_raw, group_of, make_event
from tests.support.waiting import eventually_async


def requests(*numbers: int) -> list[str]:
    return [f"request-{number}" for number in numbers]


async def settled(log: SqliteLog, *, delivered: int = 0, dead: int = 0, pending: int = 0) -> None:
    async def as_told() -> bool:
        group = await group_of(log)
        return (group.delivered, group.dead, group.pending, group.lag) == (delivered, dead, pending, 0)

    await eventually_async(as_told)


def dead_letters(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "bus.db") as direct:
        return direct.execute("SELECT reason, detail FROM dead_letters ORDER BY seq").fetchall()


async def test_events_arrive_in_batches_and_are_acknowledged(log: SqliteLog) -> None:
    await feed(log, [make_event(number) for number in range(25)])
    backend = ScriptedBackend()

    async with at_work(backend, log):
        await settled(log, delivered=25)

    assert backend.taken == requests(*range(25))
    assert [len(batch) for batch in backend.batches] == [10, 10, 5]


async def test_nothing_is_acknowledged_before_the_backend_has_it(log: SqliteLog) -> None:
    may_answer = asyncio.Event()

    async def answers_late(batch: Sequence[Delivered]) -> list[Outcome]:
        assert (await group_of(log)).delivered == 0
        await may_answer.wait()
        return [Ok()] * len(batch)

    await feed(log, [make_event()])
    backend = ScriptedBackend(answers_late)

    async with at_work(backend, log):
        await eventually_async(lambda: asyncio.sleep(0, bool(backend.batches)))
        assert (await group_of(log)).pending == 1
        may_answer.set()
        await settled(log, delivered=1)


async def test_an_outage_is_waited_out_and_nothing_is_buried(log: SqliteLog) -> None:
    tries = 0

    async def away_for_a_while(batch: Sequence[Delivered]) -> list[Outcome]:
        nonlocal tries
        tries += 1
        return [Retry("away") if tries < 8 else Ok()] * len(batch)

    await feed(log, [make_event(number) for number in range(5)])
    backend = ScriptedBackend(away_for_a_while)

    async with at_work(backend, log):
        await settled(log, delivered=5)

    assert sorted(backend.taken) == requests(*range(5))


async def test_the_log_is_not_drained_into_retries_while_the_backend_is_away(log: SqliteLog) -> None:
    async def away(batch: Sequence[Delivered]) -> list[Outcome]:
        return [Retry("away", after_ms=60_000)] * len(batch)

    await feed(log, [make_event(number) for number in range(100)])
    backend = ScriptedBackend(away)

    async with at_work(backend, log) as worker:
        await eventually_async(lambda: asyncio.sleep(0, worker.state().state == "waiting"))
        group = await group_of(log)

    assert (group.pending, group.lag) == (10, 90)
    assert len(backend.batches) == 1


async def test_the_state_tells_that_and_why_it_waits_until_it_delivers_again(log: SqliteLog) -> None:
    is_away = True

    async def away_or_not(batch: Sequence[Delivered]) -> list[Outcome]:
        return [Retry("the disk is full") if is_away else Ok()] * len(batch)

    await feed(log, [make_event()])
    async with at_work(ScriptedBackend(away_or_not), log) as worker:
        await eventually_async(lambda: asyncio.sleep(0, worker.state().failures > 2))
        waiting = worker.state()
        is_away = False
        await settled(log, delivered=1)
        await eventually_async(lambda: asyncio.sleep(0, worker.state().state == "delivering"))

    assert (waiting.state, waiting.error) == ("waiting", "the disk is full")


async def test_a_refused_event_is_buried_and_its_batch_is_taken(tmp_path: Path, log: SqliteLog) -> None:
    async def refuses_three(batch: Sequence[Delivered]) -> list[Outcome]:
        if "request-3" in {item.event.request_id for item in batch}:
            return [Permanent("no number")] * len(batch)
        return [Ok()] * len(batch)

    await feed(log, [make_event(number) for number in range(10)])
    backend = ScriptedBackend(refuses_three)

    async with at_work(backend, log):
        await settled(log, delivered=9, dead=1)
    await log.close()

    assert sorted(backend.taken) == requests(0, 1, 2, 4, 5, 6, 7, 8, 9)
    assert dead_letters(tmp_path) == [("permanent", "no number")]


async def test_bytes_that_are_no_event_are_buried_and_do_not_stop_the_others(tmp_path: Path, log: SqliteLog) -> None:
    await feed_raw(log, [Entry(b"x" * 16, b"\xc1 no event")])
    await feed(log, [make_event(1)])
    backend = ScriptedBackend()

    async with at_work(backend, log):
        await settled(log, delivered=1, dead=1)
    await log.close()

    assert backend.taken == requests(1)
    assert dead_letters(tmp_path)[0][0] == "undecodable"


async def test_no_answer_in_time_is_tried_again(log: SqliteLog) -> None:
    async def hangs_at_first(batch: Sequence[Delivered]) -> list[Outcome]:
        if batch[0].deliveries == 1:
            await asyncio.sleep(60)
        return [Ok()] * len(batch)

    await feed(log, [make_event()])
    pace = Pace(batch_size=10, min_idle_ms=200, timeout_ms=30, backoff=Backoff(1, 5))
    backend = ScriptedBackend(hangs_at_first)

    async with at_work(backend, log, pace):
        await settled(log, delivered=1)

    assert len(backend.batches) == 2


async def test_one_event_that_never_succeeds_does_not_hold_up_the_others(log: SqliteLog) -> None:
    async def never_takes_zero(batch: Sequence[Delivered]) -> list[Outcome]:
        return [Unknown("hm") if item.event.request_id == "request-0" else Ok() for item in batch]

    await feed(log, [make_event(0)])
    backend = ScriptedBackend(never_takes_zero)

    async with at_work(backend, log):
        await eventually_async(lambda: asyncio.sleep(0, len(backend.batches) > 3))
        for number in range(1, 31):
            await feed(log, [make_event(number)])
        await settled(log, delivered=30, pending=1)


class LogWithTimeInBeats(SqliteLog):
    """Its time goes on by most of a lease with each heartbeat, and at nothing else: a frozen machine is never late."""

    beats = 0

    def _now(self) -> int:
        return 60 * self.beats

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        kept = await super().extend(group, consumer, keys)
        self.beats += 1
        return kept


async def test_a_long_delivery_keeps_its_lease(tmp_path: Path) -> None:
    log = await LogWithTimeInBeats.open(tmp_path / "bus.db")
    assert isinstance(log, LogWithTimeInBeats)
    await log.ensure_groups(["scripted"])

    async def slow(batch: Sequence[Delivered]) -> list[Outcome]:
        await eventually_async(lambda: asyncio.sleep(0, log.beats > 10))
        return [Ok()] * len(batch)

    await feed(log, [make_event()])
    pace = Pace(batch_size=10, min_idle_ms=100, timeout_ms=120_000, backoff=Backoff(1, 5))
    backend, rival = ScriptedBackend(slow), ScriptedBackend()

    async with at_work(backend, log, pace):
        await eventually_async(lambda: asyncio.sleep(0, bool(backend.batches)))
        async with at_work(rival, log, pace):
            await settled(log, delivered=1)
    await log.close()

    assert (len(backend.batches), rival.batches) == (1, [])


class LogWithLostWrites(SqliteLog):
    """Cannot take settlements while `is_away`, as on a full disk; reading goes on."""

    is_away = False

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        if self.is_away:
            raise BusUnavailable("the disk is full")
        await super().ack(group, keys)


async def test_while_acknowledgements_fail_nothing_more_is_sent(tmp_path: Path) -> None:
    log = await LogWithLostWrites.open(tmp_path / "bus.db")
    assert isinstance(log, LogWithLostWrites)
    await log.ensure_groups(["scripted"])
    await feed(log, [make_event(number) for number in range(30)])
    log.is_away = True
    backend = ScriptedBackend()

    async with at_work(backend, log) as worker:
        await eventually_async(lambda: asyncio.sleep(0, worker.state().failures > 5))
        assert backend.taken == requests(*range(10))
        assert worker.state().error == "the disk is full"
        log.is_away = False
        await settled(log, delivered=30)

    assert backend.taken == requests(*range(30))
    await log.close()


async def test_a_backend_that_cannot_be_opened_is_asked_again(log: SqliteLog) -> None:
    class OpensLate(ScriptedBackend):
        async def open(self) -> None:
            await super().open()
            if self.opened < 4:
                raise BackendUnavailable("the folder is read-only")

    await feed(log, [make_event()])
    backend = OpensLate()

    async with at_work(backend, log):
        await settled(log, delivered=1)

    assert (backend.opened, backend.closed) == (4, 1)


async def test_a_stop_lets_the_running_delivery_end_and_acknowledges_it(log: SqliteLog) -> None:
    may_answer = asyncio.Event()

    async def answers_late(batch: Sequence[Delivered]) -> list[Outcome]:
        await may_answer.wait()
        return [Ok()] * len(batch)

    await feed(log, [make_event(number) for number in range(15)])
    stop = asyncio.Event()
    backend = ScriptedBackend(answers_late)
    task = asyncio.create_task(Worker(backend, log, "c", QUICK, stop).run())
    await eventually_async(lambda: asyncio.sleep(0, bool(backend.batches)))
    stop.set()
    may_answer.set()
    async with asyncio.timeout(60):
        await task

    group = await group_of(log)
    assert (group.delivered, group.pending, group.lag) == (10, 0, 5)


async def test_a_stop_in_the_middle_of_halving_gives_the_rest_back_at_once(log: SqliteLog) -> None:
    stop = asyncio.Event()

    async def refuses_and_is_stopped(batch: Sequence[Delivered]) -> list[Outcome]:
        stop.set()
        return [Permanent("bad")] * len(batch)

    await feed(log, [make_event(number) for number in range(4)])
    await Worker(ScriptedBackend(refuses_and_is_stopped), log, "c", QUICK, stop).run()

    again = await log.claim("scripted", "d", min_idle_ms=60_000, max_entries=10)
    assert [(delivery.deliveries, delivery.crashes) for delivery in again] == [(2, 0)] * 4


async def test_a_quiet_worker_stops_within_a_second(log: SqliteLog) -> None:
    stop = asyncio.Event()
    pace = Pace(batch_size=10, min_idle_ms=30_000, timeout_ms=10_000, backoff=Backoff(500, 60_000))
    task = asyncio.create_task(Worker(ScriptedBackend(), log, "c", pace, stop).run())
    await asyncio.sleep(0.05)
    stop.set()

    async with asyncio.timeout(60):
        await task


async def test_an_event_that_kills_its_worker_is_buried_and_its_company_arrives(tmp_path: Path) -> None:
    """Each round is a process that dies in the hands of request-2."""
    killer = {"request-2"}
    taken: set[str] = set()

    async def dies_of_two(batch: Sequence[Delivered]) -> list[Outcome]:
        if killer & {item.event.request_id for item in batch}:
            raise SystemError("killed")
        taken.update(item.event.request_id for item in batch)
        return [Ok()] * len(batch)

    log = await SqliteLog.open(tmp_path / "bus.db")
    await log.ensure_groups(["scripted"])
    await feed(log, [make_event(number) for number in range(10)])
    await log.close()
    lives = [await one_life(tmp_path / "bus.db", dies_of_two) for _ in range(9)]

    assert taken == set(requests(*range(10))) - killer
    assert lives[-1] == (1, 9)
    assert [reason for reason, _ in dead_letters(tmp_path)] == ["crash_loop"]


async def one_life(path: Path, script: Script) -> tuple[int, int]:
    """Dead and delivered after a process has worked until it died or had nothing left."""
    log = await SqliteLog.open(path)
    stop = asyncio.Event()
    worker = asyncio.create_task(Worker(ScriptedBackend(script), log, "c", QUICK, stop).run())
    await eventually_async(lambda: finished(worker, log))
    stop.set()
    await asyncio.gather(worker, return_exceptions=True)
    group = await group_of(log)
    await log.close()
    return group.dead, group.delivered


async def finished(worker: "asyncio.Task[Any]", log: SqliteLog) -> bool:
    group = await group_of(log)
    return worker.done() or group.pending + group.lag == 0


async def test_a_worker_that_crashes_leaves_its_events_to_the_next(log: SqliteLog) -> None:
    async def crashes(batch: Sequence[Delivered]) -> list[Outcome]:
        raise RuntimeError("a bug")

    await feed(log, [make_event(1)])
    with pytest.raises(ExceptionGroup):
        await Worker(ScriptedBackend(crashes), log, "first", QUICK, asyncio.Event()).run()
    backend = ScriptedBackend()

    async with at_work(backend, log):
        await settled(log, delivered=1)

    assert backend.taken == requests(1)
