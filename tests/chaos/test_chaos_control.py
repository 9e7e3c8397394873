"""The control: a recorder without a spool, under two of the faults that every round has, must be found out."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.raw_recorder import RawRecorder
from tests.chaos.redis_pair import RedisPair
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos-redis-2")]
_ENOUGH = 150


@pytest.fixture
def pair() -> Iterator[RedisPair]:
    made = RedisPair(seed=0)
    yield made
    made.close()


async def _more(recorder: RawRecorder) -> None:
    """Goes on until so many more exchanges have ended for their clients."""
    until = recorder.sent + _ENOUGH

    async def came() -> bool:
        return recorder.sent >= until

    await eventually_async(came)


async def test_without_a_fault_the_checker_finds_nothing(tmp_path: Path, pair: RedisPair) -> None:
    recorder, stop = RawRecorder(tmp_path, pair.url), asyncio.Event()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run(stop), name="recorder")
        await _more(recorder)
        stop.set()

    assert recorder.verdict().problems == ()


async def test_what_is_lost_with_a_redis_that_is_killed_is_seen(tmp_path: Path, pair: RedisPair) -> None:
    recorder, stop = RawRecorder(tmp_path, pair.url), asyncio.Event()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run(stop), name="recorder")
        await _more(recorder)
        pair.primary.kill()
        await _more(recorder)
        await asyncio.to_thread(pair.primary.start)
        await _more(recorder)
        stop.set()

    verdict = recorder.verdict()
    assert verdict.lost >= _ENOUGH // 2
    assert any("LOST" in problem for problem in verdict.problems)


async def test_what_a_failover_takes_along_is_seen(tmp_path: Path, pair: RedisPair) -> None:
    """A replica that was parted from its primary takes the place of one that has frozen."""
    recorder, stop = RawRecorder(tmp_path, pair.url), asyncio.Event()
    await asyncio.to_thread(pair.with_replica)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run(stop), name="recorder")
        await _more(recorder)
        pair.part()
        pair.primary.freeze(is_frozen=True)
        await _more(recorder)
        await asyncio.to_thread(pair.promote)
        await _more(recorder)
        stop.set()

    verdict = recorder.verdict()
    assert verdict.lost >= 1
    assert any("LOST" in problem for problem in verdict.problems)
