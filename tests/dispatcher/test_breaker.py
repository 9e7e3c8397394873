"""When a backend's breaker opens and closes, and what becomes of events meanwhile: nothing."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from msgspec import structs

from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.sqlite_log import SqliteLog
from config.secret import Secret
from dispatcher.backends.base import BackendUnavailable, Delivered, Ok, Outcome, Retry
from dispatcher.breaker import Breaker
from dispatcher.settle import Backoff
from dispatcher.worker import Pace
from tests.dispatcher.scripted import ScriptedBackend, at_work, feed, group_of, make_event
from tests.support.waiting import eventually_async

PACE = Pace(
    batch_size=10, min_idle_ms=300, timeout_ms=2000, backoff=Backoff(1, 50), breaker_failures=3, probe_max_ms=20
)


def test_it_opens_after_failures_in_a_row_and_closes_when_anything_is_answered() -> None:
    breaker = Breaker(3)

    assert [breaker.failed(["a", "b"]) for _ in range(4)] == [False, False, True, False]
    assert breaker.is_open
    assert [breaker.answered(), breaker.answered(), breaker.is_open] == [True, False, False]
    assert [breaker.failed(["a", "b"]) for _ in range(3)] == [False, False, True]


def test_one_event_that_always_fails_opens_nothing_until_another_fails_too() -> None:
    breaker = Breaker(3)

    assert [breaker.failed(["a"]) for _ in range(20)] == [False] * 20
    assert breaker.failed(["b"])


def test_a_backend_that_cannot_be_opened_needs_no_events_to_open_it() -> None:
    breaker = Breaker(3)

    assert [breaker.failed([]) for _ in range(3)] == [False, False, True]


class Outage(ScriptedBackend):
    """Takes nothing while `is_away`, and notes with how many deliveries each event comes."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.is_away = True
        self.deliveries: dict[str, int] = {}

    async def answer(self, batch: Sequence[Delivered]) -> list[Outcome]:
        self.deliveries |= {item.event.request_id: item.deliveries for item in batch}
        return [Retry("away") if self.is_away else Ok()] * len(batch)

    async def has_probed(self, times: int) -> bool:
        return [len(batch) for batch in self.batches[3:]][:times] == [1] * times


async def test_while_it_is_open_only_probes_are_sent_and_the_rest_keeps_its_count(
    log: SqliteLog, caplog: pytest.LogCaptureFixture
) -> None:
    await feed(log, [make_event(number) for number in range(100)])
    backend = Outage()

    with caplog.at_level(logging.INFO, "dispatcher.worker"):
        async with at_work(backend, log, PACE) as worker:
            await eventually_async(lambda: backend.has_probed(12))
            group, state = await group_of(log), worker.state()
            probes = len(backend.batches) - 3
            backend.is_away = False
            await eventually_async(lambda: is_delivered(log, 100))
            closed = worker.state()

    assert (state.breaker, state.opened, state.delivered, state.buried) == ("open", 1, 0, 0)
    assert (group.dead, group.pending + group.lag) == (0, 100)
    assert group.lag >= 70 - probes, "not drained into retries"
    assert sum(backend.deliveries.values()) <= 100 + 3 * 10 + len(backend.batches) - 3
    assert sorted(backend.taken) == sorted(f"request-{number}" for number in range(100)), "each once"
    assert (closed.breaker, closed.delivered, closed.buried, closed.in_flight_bytes) == ("closed", 100, 0, 0)
    told = [record.getMessage() for record in caplog.records if "breaker" in record.getMessage()]
    assert told == ["a backend's breaker opened", "a backend's breaker closed"]


async def is_delivered(bus: SqliteLog | RedisStreams, count: int) -> bool:
    return (await group_of(bus)).delivered == count


async def test_on_redis_the_outage_leaves_everything_where_it_is(redis_url: str) -> None:
    bus = RedisStreams(RedisLink(Secret(redis_url)), "breaker", min_idle_ms=PACE.min_idle_ms)
    await bus.ensure_groups(["scripted"])
    await feed(bus, [make_event(number) for number in range(100)])
    backend = Outage()

    async with at_work(backend, bus, PACE) as worker:
        await eventually_async(lambda: backend.has_probed(8))
        group = await group_of(bus)
        probes = len(backend.batches) - 3
        backend.is_away = False
        await eventually_async(lambda: is_delivered(bus, 100))
        await eventually_async(lambda: asyncio.sleep(0, worker.state().breaker == "closed"))
    await bus.close()

    assert (group.dead, group.lag >= 70 - probes) == (0, True)
    assert sorted(backend.taken) == sorted(f"request-{number}" for number in range(100))


async def test_there_is_always_an_event_to_probe_with_however_often_the_few_were_tried(log: SqliteLog) -> None:
    await feed(log, [make_event(number) for number in range(2)])
    backend = Outage()
    pace = structs.replace(PACE, backoff=Backoff(1, 600_000))

    async with at_work(backend, log, pace):
        await eventually_async(lambda: backend.has_probed(50))


async def test_one_bad_event_does_not_keep_others_from_a_backend_that_works(log: SqliteLog) -> None:
    async def chokes_on_zero(batch: Sequence[Delivered]) -> list[Outcome]:
        return [Retry("too large to be read") if i.event.request_id == "request-0" else Ok() for i in batch]

    await feed(log, [make_event(0)])
    backend = ScriptedBackend(chokes_on_zero)

    async with at_work(backend, log, PACE) as worker:
        await eventually_async(lambda: asyncio.sleep(0, len(backend.batches) > 10))
        assert worker.state().breaker == "closed"
        await feed(log, [make_event(number) for number in range(1, 30)])
        await eventually_async(lambda: is_delivered(log, 29))
        assert worker.state().opened == 0


async def test_a_backend_that_cannot_be_opened_opens_the_breaker_until_it_can(log: SqliteLog) -> None:
    class OpensLate(ScriptedBackend):
        async def open(self) -> None:
            await super().open()
            if self.opened < 6:
                raise BackendUnavailable("the folder is read-only")

    await feed(log, [make_event(number) for number in range(10)])
    backend = OpensLate()

    async with at_work(backend, log, PACE) as worker:
        await eventually_async(lambda: is_delivered(log, 10))
        state = worker.state()

    assert (backend.opened, state.opened, state.breaker) == (6, 1, "closed")
