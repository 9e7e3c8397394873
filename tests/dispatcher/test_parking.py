"""A backend that is away for long: its events leave the bus for the disk, and come back first and in order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec import structs

from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.sqlite_log import SqliteLog
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import BackendUnavailable, Delivered, Ok, Outcome, Permanent, Retry
from dispatcher.lots import Ground
from dispatcher.settle import Backoff
from dispatcher.worker import Pace, Worker
from tests.dispatcher.scripted import ScriptedBackend, at_work, feed, group_of, make_event
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually_async

PACE = Pace(
    batch_size=10, min_idle_ms=300, timeout_ms=5000, backoff=Backoff(1, 20), breaker_failures=3, probe_max_ms=10
)
Bus = SqliteLog | RedisStreams


@pytest.fixture
async def redis(own_redis: RedisServer) -> AsyncIterator[RedisStreams]:
    bus = RedisStreams(RedisLink(Secret(own_redis.url)), "parking", min_idle_ms=PACE.min_idle_ms)
    await bus.ensure_groups(["scripted"])
    yield bus
    await bus.close()


def ground(bus: Bus, folder: Path, **changes: int) -> Ground:
    limits = {"after_ms": 30, "max_bytes": 64 * 1024**2, "rate": 100_000, **changes}
    return Ground(bus, folder / "parking", **limits)


class Away(ScriptedBackend):
    """Takes nothing while it is away; remembers what it has been asked meanwhile."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.is_away = True
        self.tried: set[str] = set()
        self.bad: set[str] = set()

    async def answer(self, batch: Sequence[Delivered]) -> list[Outcome]:
        ids = [item.event.request_id for item in batch]
        if self.is_away:
            self.tried.update(ids)
            return [Retry("away")] * len(ids)
        if len(ids) > 1 and self.bad.intersection(ids):
            return [Permanent("something in here is bad")] * len(ids)
        return [Permanent("bad") if i in self.bad else Ok() for i in ids]

    def untried(self) -> list[int]:
        """In the order of arrival, those that parking has met new."""
        return [int(i.rpartition("-")[2]) for i in self.taken if i not in self.tried]


async def fed(bus: Bus, numbers: Sequence[int]) -> None:
    await feed(bus, [make_event(number) for number in numbers])


async def closes(bus: Bus) -> bool:
    stats, group = await bus.stats(), await group_of(bus)
    known = group.delivered + group.dead + group.pending + group.lag + group.purged + group.earlier
    return known + group.parked + group.lost == stats.appended


async def all_parked_but(bus: Bus, few: int) -> bool:
    """Looked at in one breath: what is not parked waits on the bus."""
    assert await closes(bus)
    stats = await bus.stats()
    return stats.groups[0].parked >= stats.appended - few and stats.groups[0].earlier == 0


async def delivered(bus: Bus, count: int) -> bool:
    assert await closes(bus)
    group = await group_of(bus)
    return group.delivered == count and group.parked == 0


async def away_and_back(bus: Bus, folder: Path) -> None:
    backend, most = Away(), 0

    async with at_work(backend, bus, PACE, ground(bus, folder)) as worker:
        for start in range(0, 1000, 100):
            await fed(bus, range(start, start + 100))
            await eventually_async(lambda: all_parked_but(bus, 2))
            await bus.trim()
            stats = await bus.stats()
            most = max(most, stats.entries)
        away = worker.state()
        on_disk = sum(1 for _ in (folder / "parking").rglob("*.seg"))
        backend.is_away = False
        await fed(bus, range(1000, 1100))
        await eventually_async(lambda: delivered(bus, 1100))
        await eventually_async(lambda: asyncio.sleep(0, worker.state().lot == "off"))
        back = worker.state()

    assert most <= 300, "the bus holds what came last, however long it goes on"
    assert (away.lot, away.breaker, away.buried, on_disk > 0) == ("parking", "open", 0, True)
    assert away.parked >= 998
    assert (back.parked, back.delivered, back.breaker) == (0, 1100, "closed")
    assert sorted(backend.taken) == sorted(f"request-{n}" for n in range(1100)), "each once"
    assert backend.untried() == sorted(backend.untried()), "what was parked first, in order, and then the new ones"
    assert len(backend.untried()) >= 1000
    assert list((folder / "parking" / "scripted").iterdir()) == []


@pytest.mark.slow
async def test_a_backend_that_is_away_does_not_pin_the_embedded_log_and_gets_all_in_order(
    tmp_path: Path, log: SqliteLog
) -> None:
    await away_and_back(log, tmp_path)


@pytest.mark.slow
async def test_a_backend_that_is_away_does_not_pin_redis_and_gets_all_in_order(
    tmp_path: Path, redis: RedisStreams
) -> None:
    await away_and_back(redis, tmp_path)


def test_a_dispatcher_of_its_own_parks_only_when_it_is_told_to(tmp_path: Path) -> None:
    bus = RedisStreams(RedisLink(Secret("redis://127.0.0.1")), "never-asked", min_idle_ms=50)
    unset, asked = Settings(data_dir=str(tmp_path)), Settings(data_dir=str(tmp_path), dispatcher_park_after_ms=70_000)

    grounds = [Ground.of(of, bus, has_lasting_disk=lasts) for of in (unset, asked) for lasts in (True, False)]

    assert [ground and ground.after_ms for ground in grounds] == [600_000, 0, 70_000, 70_000]


async def test_nothing_is_parked_before_its_time_nor_when_it_is_turned_off(tmp_path: Path, log: SqliteLog) -> None:
    for after_ms in (600_000, 0):
        backend = Away()
        await fed(log, range(30))
        async with at_work(backend, log, PACE, ground(log, tmp_path, after_ms=after_ms)) as worker:
            await eventually_async(lambda: asyncio.sleep(0, worker.state().failures > 20))
            assert (worker.state().lot, (await group_of(log)).parked) == ("off", 0)
            backend.is_away = False
            await eventually_async(lambda: is_empty(log))

    assert not (tmp_path / "parking").exists()


async def is_empty(bus: Bus) -> bool:
    group = await group_of(bus)
    return group.pending + group.lag + group.parked == 0


async def poisoned(bus: Bus, folder: Path) -> None:
    backend = Away()
    backend.bad = {"request-57"}

    async with at_work(backend, bus, PACE, ground(bus, folder)):
        await fed(bus, range(100))
        await eventually_async(lambda: all_parked_but(bus, 2))
        backend.is_away = False
        await eventually_async(lambda: delivered(bus, 99))

    assert (await group_of(bus)).dead == 1
    assert len(backend.taken) == len(set(backend.taken)) == 99


async def test_a_bad_event_comes_out_of_the_lot_into_the_dead_letters_with_its_reason(
    tmp_path: Path, log: SqliteLog
) -> None:
    await poisoned(log, tmp_path)

    (letter,) = (await log.letters("scripted")).letters
    assert (letter.reason, letter.detail) == ("permanent", "bad")


async def test_a_bad_event_comes_out_of_the_lot_into_the_dead_letters_of_redis(
    tmp_path: Path, redis: RedisStreams
) -> None:
    await poisoned(redis, tmp_path)


async def test_a_full_lot_leaves_events_on_the_bus_and_says_so_once(
    tmp_path: Path, log: SqliteLog, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Away()
    big = [make_event(number, path="/v1/" + "x" * 50_000) for number in range(60)]

    with caplog.at_level(logging.INFO, "dispatcher"):
        async with at_work(backend, log, PACE, ground(log, tmp_path, max_bytes=1024**2)) as worker:
            await feed(log, big)
            await eventually_async(lambda: asyncio.sleep(0, worker.state().lot == "full"))
            full = await group_of(log)
            probes = len(backend.batches)
            await eventually_async(lambda: asyncio.sleep(0, len(backend.batches) > probes + 10))
            size = sum(path.stat().st_size for path in (tmp_path / "parking").rglob("*.seg"))
            still = await group_of(log)
            backend.is_away = False
            await eventually_async(lambda: delivered(log, 60))

    assert 5 <= full.parked < 30
    assert size <= 1024**2
    assert still.parked + still.pending + still.lag == 60
    assert sorted(backend.taken) == sorted(f"request-{n}" for n in range(60))
    told = [record.getMessage() for record in caplog.records if "can be parked" in record.getMessage()]
    assert told[0] == "no more events can be parked; they wait on the bus"
    assert told.count(told[0]) <= 1 + told.count("events can be parked again")


async def test_where_no_lot_can_be_made_events_stay_as_they_are_until_one_can(tmp_path: Path, log: SqliteLog) -> None:
    backend = Away()
    (tmp_path / "parking").write_text("in the way")

    async with at_work(backend, log, PACE, ground(log, tmp_path)) as worker:
        await fed(log, range(300))
        await eventually_async(lambda: asyncio.sleep(0, worker.state().lot == "full"))
        probes = len(backend.batches)
        await eventually_async(lambda: asyncio.sleep(0, len(backend.batches) > probes + 30))
        full = await group_of(log)
        (tmp_path / "parking").unlink()
        await eventually_async(lambda: all_parked_but(log, 2))
        backend.is_away = False
        await eventually_async(lambda: delivered(log, 300))

    assert (full.parked, full.lag >= 200) == (0, True), "not drained into retries"


async def test_a_redis_that_is_flushed_takes_nothing_of_what_was_parked(tmp_path: Path, redis: RedisStreams) -> None:
    backend = Away()

    async with at_work(backend, redis, PACE, ground(redis, tmp_path)):
        await fed(redis, range(100))
        await eventually_async(lambda: has_only_a_probe(redis))
        await redis._link.call("FLUSHALL")
        await redis.ensure_groups(["scripted"])
        backend.is_away = False
        await eventually_async(lambda: is_delivered(backend, 100))
        await eventually_async(lambda: closes(redis))

    assert sorted(set(backend.taken)) == sorted(f"request-{n}" for n in range(100))


async def has_only_a_probe(bus: RedisStreams) -> bool:
    """Which the lot has, too."""
    return await bus._link.call("XLEN", bus._keys.again("scripted")) == 1 and await all_parked_but(bus, 1)


async def is_delivered(backend: Away, count: int) -> bool:
    return len(set(backend.taken)) == count


async def test_a_lot_is_adopted_by_the_next_dispatcher_and_what_was_parked_comes_before_what_is_new(
    tmp_path: Path, log: SqliteLog
) -> None:
    first, second = Away(), Away()
    async with at_work(first, log, PACE, ground(log, tmp_path)):
        await fed(log, range(300))
        await eventually_async(lambda: all_parked_but(log, 2))
    await fed(log, range(300, 400))
    second.is_away, second.tried = False, first.tried

    async with at_work(second, log, PACE, ground(log, tmp_path)):
        await eventually_async(lambda: delivered(log, 400))

    assert sorted(second.taken) == sorted(f"request-{n}" for n in range(400))
    assert second.untried() == sorted(second.untried())


async def test_it_stays_parked_over_restarts_in_the_order_of_the_lots(tmp_path: Path, log: SqliteLog) -> None:
    tried: set[str] = set()
    for start in range(0, 300, 100):
        backend = Away()
        async with at_work(backend, log, PACE, ground(log, tmp_path)):
            await fed(log, range(start, start + 100))
            await eventually_async(lambda: all_parked_but(log, 50))  # four batches may have come back by then
        tried |= backend.tried
    backend = Away()
    backend.is_away, backend.tried = False, tried

    async with at_work(backend, log, PACE, ground(log, tmp_path)):
        await eventually_async(lambda: delivered(log, 300))

    assert sorted(backend.taken) == sorted(f"request-{n}" for n in range(300))
    assert backend.untried() == sorted(backend.untried())


async def test_parked_events_come_back_no_faster_than_the_rate(tmp_path: Path, log: SqliteLog) -> None:
    backend = Away()
    async with at_work(backend, log, PACE, ground(log, tmp_path, rate=200)):
        await fed(log, range(200))
        await eventually_async(lambda: all_parked_but(log, 2))
        began = time.monotonic()
        backend.is_away = False
        await eventually_async(lambda: delivered(log, 200))
        took_s = time.monotonic() - began

    assert took_s > (200 - 2 - 0.2 * 200) / 200 * 0.9, "but for one burst"


async def test_a_backend_that_cannot_even_be_opened_pins_nothing(tmp_path: Path, log: SqliteLog) -> None:
    class Closed(Away):
        async def open(self) -> None:
            if self.is_away:
                raise BackendUnavailable("the folder is read-only")

    backend = Closed()
    await fed(log, range(100))
    left_by_the_dead = await log.read("scripted", "dead", max_entries=5, max_bytes=10**6, block_ms=0)

    async with at_work(backend, log, PACE, ground(log, tmp_path)):
        await eventually_async(lambda: all_parked_but(log, 0))
        await log.trim()
        entries = (await log.stats()).entries
        backend.is_away = False
        await eventually_async(lambda: delivered(log, 100))

    assert (len(left_by_the_dead), entries) == (5, 0)
    assert len(backend.taken) == 100


async def test_one_that_cannot_reach_the_backend_leaves_all_to_another_that_can(
    tmp_path: Path, redis: RedisStreams
) -> None:
    cut_off, well = Away(), Away()
    here = ground(redis, tmp_path, after_ms=200)

    async with at_work(cut_off, redis, PACE, here) as one:
        await fed(redis, range(100))
        await eventually_async(lambda: all_parked_but(redis, 2))
        well.is_away = False
        stop = asyncio.Event()
        other = asyncio.create_task(Worker(well, redis, "consumer-2", PACE, stop).run())
        for number in range(100, 130):  # it sees that somebody delivers
            await fed(redis, [number])
            await eventually_async(lambda: asyncio.sleep(0, len(well.taken) > number - 100))  # noqa: B023
        await eventually_async(lambda: delivered(redis, 130))
        state = one.state()
        stop.set()
        await other

    assert (state.breaker, state.parked) == ("open", 0)
    assert (sorted(well.taken), cut_off.taken) == (sorted(f"request-{n}" for n in range(130)), [])


async def test_one_event_that_never_succeeds_does_not_hold_up_what_was_parked(tmp_path: Path, log: SqliteLog) -> None:
    backend = Away()

    async def never_takes_fifty(batch: Sequence[Delivered]) -> list[Outcome]:
        outcomes = await backend.answer(batch)
        return [Retry("hm") if i.event.request_id == "request-50" else o for i, o in zip(batch, outcomes, strict=True)]

    backend.script = never_takes_fifty
    pace = structs.replace(PACE, batch_size=5)
    async with at_work(backend, log, pace, ground(log, tmp_path)):
        await fed(log, range(100))
        await eventually_async(lambda: all_parked_but(log, 2))
        backend.is_away = False
        await eventually_async(lambda: delivered(log, 99))
        await fed(log, range(100, 120))
        await eventually_async(lambda: delivered(log, 119))
        assert (await group_of(log)).pending == 1
