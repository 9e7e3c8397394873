"""Workers side by side: one that crashes is started again, one that is away does not touch the others."""

import asyncio
from collections.abc import Sequence

from bus.sqlite_log import SqliteLog
from dispatcher.backends.base import Delivered, Ok, Outcome, Retry
from dispatcher.fleet import Fleet, consumer_name
from tests.dispatcher.scripted import QUICK, ScriptedBackend, feed, group_of, make_event
from tests.support.waiting import eventually_async


async def delivered_to(log: SqliteLog, name: str) -> int:
    return (await group_of(log, name)).delivered


async def test_a_crashed_worker_is_started_again_and_loses_nothing(log: SqliteLog) -> None:
    crashes = 0

    async def crashes_twice(batch: Sequence[Delivered]) -> list[Outcome]:
        nonlocal crashes
        if crashes < 2:
            crashes += 1
            raise RuntimeError("a bug")
        return [Ok()] * len(batch)

    await feed(log, [make_event(number) for number in range(5)])
    backend, stop = ScriptedBackend(crashes_twice), asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(Fleet([backend], log, QUICK).run(stop))
        await eventually_async(lambda: is_equal(log, "scripted", 5))
        stop.set()

    assert (crashes, len(backend.taken), backend.closed) == (2, 5, 3)


async def is_equal(log: SqliteLog, name: str, count: int) -> bool:
    return await delivered_to(log, name) == count


async def test_a_backend_that_is_away_does_not_delay_the_others(log: SqliteLog) -> None:
    async def away(batch: Sequence[Delivered]) -> list[Outcome]:
        return [Retry("away")] * len(batch)

    async def hangs(batch: Sequence[Delivered]) -> list[Outcome]:
        await stop.wait()
        return [Ok()] * len(batch)

    stop = asyncio.Event()
    fleet = Fleet(
        [ScriptedBackend(away, "away"), ScriptedBackend(hangs, "slow"), ScriptedBackend(name="well")], log, QUICK
    )
    await log.ensure_groups(["away", "slow", "well"])
    await feed(log, [make_event(number) for number in range(50)])
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(fleet.run(stop))
        await eventually_async(lambda: is_equal(log, "well", 50))
        states = {state.name: state.state for state in fleet.states()}
        stop.set()

    assert states == {"away": "waiting", "slow": "delivering", "well": "delivering"}
    assert {state.state for state in fleet.states()} == {"stopped"}


async def test_a_restarted_worker_is_not_taken_for_the_dead_one() -> None:
    assert consumer_name("file") != consumer_name("file")
