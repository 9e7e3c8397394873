"""Recorded events once more to one backend: the same events, through the same worker, no faster than asked."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bus.event import Body, ExchangeFinished, Usage
from config.ids import new_id
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry
from dispatcher.backends.database import DatabaseBackend, body_rows, request_row
from dispatcher.recorded import event_of, recorded
from dispatcher.replay import Replayed, replay
from dispatcher.settle import Backoff
from dispatcher.worker import Pace
from sql.rows import RequestFilter
from sql.stores import Stores
from tests.dispatcher.scripted import ScriptedBackend, delivered, make_event

PACE = Pace(batch_size=10, min_idle_ms=100, timeout_ms=2000, backoff=Backoff(1, 10), breaker_failures=3)
FAST = 100_000.0

counts = st.integers(0, 2**40)
bodies = st.none() | st.builds(Body, st.binary(max_size=20), st.text(max_size=5), st.text(max_size=5), st.booleans())
events = st.builds(
    ExchangeFinished,
    event_id=st.builds(new_id),
    request_id=st.text(max_size=5),
    accepted_at_ms=counts,
    method=st.sampled_from(["GET", "POST"]),
    path=st.text(max_size=9),
    status=st.integers(0, 599),
    end_user=st.text(max_size=5),
    model=st.text(max_size=5),
    usage=st.none() | st.builds(Usage, *[counts] * 7),
    cost_microusd=st.none() | counts,
    first_byte_us=st.none() | counts,
    streamed=st.booleans(),
    cut=st.sampled_from(["", "client", "upstream", "interrupted"]),
    attempts=st.integers(0, 5),
    request_body=bodies,
    response_body=bodies,
)


@given(events)
def test_an_event_comes_back_from_its_rows_as_it_went_in(event: ExchangeFinished) -> None:
    again = event_of(request_row(event), body_rows(event))

    assert structs.replace(again, recording=event.recording) == event


async def test_the_database_gives_back_what_it_was_given_newest_first(stores: Stores) -> None:
    given_ones = [make_event(number) for number in range(450)]
    others = [make_event(1, project_id="another"), make_event(9_000)]
    await DatabaseBackend(stores.records).deliver([delivered(event) for event in given_ones + others])

    chosen = RequestFilter(project_id="project-1", until_ms=make_event(9_000).accepted_at_ms)
    found = [event async for event in recorded(stores.records, chosen)]

    assert found == given_ones[::-1]


async def source(count: int) -> AsyncIterator[ExchangeFinished]:
    for number in reversed(range(count)):
        yield make_event(number)


async def replayed(backend: ScriptedBackend, count: int, *, rate: float = FAST, patience_s: float = 5) -> Replayed:
    async with asyncio.timeout(60):
        return await replay(backend, source(count), PACE, rate=rate, stop=asyncio.Event(), patience_s=patience_s)


async def test_all_are_sent_once_and_as_events_that_the_backend_may_have() -> None:
    deliveries: set[int] = set()

    async def takes(batch: Sequence[Delivered]) -> list[Outcome]:
        deliveries.update(item.deliveries for item in batch)
        return [Ok()] * len(batch)

    backend = ScriptedBackend(takes)
    done = await replayed(backend, 35)

    assert (done.sent, done.refused, done.is_complete, done.resume_until_ms) == (35, (), True, None)
    assert backend.taken == [f"request-{number}" for number in reversed(range(35))]
    assert (deliveries, backend.closed) == ({2}, 1)


async def test_nothing_recorded_is_nothing_to_do() -> None:
    assert await replayed(ScriptedBackend(), 0) == Replayed(0, (), is_complete=True)


@pytest.mark.slow
@pytest.mark.parametrize("tries", [0, 30])
async def test_it_is_no_faster_than_asked_retries_included(tries: int) -> None:
    rate, burst = 100, 20
    began_at, calls, deliveries = time.monotonic(), 0, 0

    async def fails_at_first(batch: Sequence[Delivered]) -> list[Outcome]:
        nonlocal calls, deliveries
        calls += 1
        deliveries += len(batch)
        assert deliveries <= rate * (time.monotonic() - began_at) + burst
        return [Retry("busy") if calls <= tries else Ok()] * len(batch)

    done = await replayed(ScriptedBackend(fails_at_first), 60, rate=rate)

    assert (done.sent, deliveries >= 60 + tries) == (60, True)


async def test_what_is_refused_is_told_and_the_rest_arrives() -> None:
    async def strict(batch: Sequence[Delivered]) -> list[Outcome]:
        is_bad = any(item.event.request_id == "request-4" for item in batch)
        return [Permanent("400: no") if is_bad else Ok()] * len(batch)

    backend = ScriptedBackend(strict)
    done = await replayed(backend, 20)

    assert (done.sent, [one.reason for one in done.refused], done.is_complete) == (19, ["400: no"], True)


@pytest.mark.parametrize("taken", [0, 1, 13, 25])
async def test_a_backend_that_stays_away_ends_it_and_a_second_one_goes_on(taken: int) -> None:
    is_away = False

    async def takes_some(batch: Sequence[Delivered]) -> list[Outcome]:
        nonlocal is_away
        is_away = is_away or len(backend.taken) >= taken
        return [Retry("away") if is_away else Ok()] * len(batch)

    backend = ScriptedBackend(takes_some)
    first = await replayed(backend, 40, patience_s=0.3)
    assert (first.is_complete, first.reason) == (False, "away")
    assert first.resume_until_ms is not None

    left = first.resume_until_ms - make_event(0).accepted_at_ms
    backend.script = ScriptedBackend().script
    second = await replayed(backend, left)

    assert second.is_complete
    assert set(backend.taken) == {f"request-{number}" for number in range(40)}
    assert first.sent + second.sent < 40 + PACE.batch_size


async def test_a_stop_ends_it_after_the_running_delivery() -> None:
    stop = asyncio.Event()

    async def stops(batch: Sequence[Delivered]) -> list[Outcome]:
        stop.set()
        return [Ok()] * len(batch)

    done = await replay(ScriptedBackend(stops), source(40), PACE, rate=FAST, stop=stop)

    assert (done.sent, done.is_complete) == (10, False)
    assert done.resume_until_ms == make_event(30).accepted_at_ms + 1
