"""Batches in parts: within the limits, side by side, and never losing what was done to what was not."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bus.event import ExchangeFinished
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry, Unknown
from dispatcher.backends.parts import Limits, Packed, deliver_in_parts, split
from dispatcher.stopping import stops_with
from tests.dispatcher.scripted import delivered, make_event

WIDE = Limits(items=10, max_bytes=10_000, at_once=2, within_s=10)


def batch_of(count: int) -> list[Delivered]:
    return [delivered(make_event(number)) for number in range(count)]


def encode(event: ExchangeFinished) -> bytes:
    return event.request_id.encode()


def names(part: Sequence[Packed]) -> list[str]:
    return [one.item.event.request_id for one in part]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 10), st.integers(1, 100))
def test_parts_keep_order_and_limits(sizes: list[int], items: int, max_bytes: int) -> None:
    packed = [Packed(delivered(make_event(number)), b"x" * size) for number, size in enumerate(sizes)]

    parts = list(split(packed, Limits(items, max_bytes, 1, 1)))

    assert [one for part in parts for one in part] == packed
    for part in parts:
        assert 1 <= len(part) <= items
        assert sum(len(one.data) for one in part) <= max_bytes or len(part) == 1


async def test_each_outcome_is_that_of_its_event_however_the_parts_end() -> None:
    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        await asyncio.sleep(0.02 if names(part)[0] == "request-0" else 0)
        return [Permanent(name, is_sure=True) if name.endswith("7") else Ok() for name in names(part)]

    outcomes = await deliver_in_parts(batch_of(45), encode, send, WIDE)

    assert [number for number, outcome in enumerate(outcomes) if outcome != Ok()] == [7, 17, 27, 37]


async def test_no_more_calls_run_at_once_than_allowed() -> None:
    running, most = 0, 0

    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return [Ok()] * len(part)

    await deliver_in_parts(batch_of(100), encode, send, WIDE)

    assert most == 2


async def test_a_refused_part_is_halved_until_the_bad_event_is_alone() -> None:
    calls: list[list[str]] = []

    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        calls.append(names(part))
        return [Permanent("bad", is_sure=len(part) == 1) if "request-3" in names(part) else Ok()] * len(part)

    outcomes = await deliver_in_parts(batch_of(20), encode, send, WIDE)

    assert [outcome == Ok() for outcome in outcomes] == [number != 3 for number in range(20)]
    assert ["request-3"] in calls
    assert len(calls) <= 2 + 2 * 4


async def test_when_time_is_up_what_was_sent_keeps_its_outcome_and_the_rest_is_given_back() -> None:
    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        if names(part)[0] != "request-0":
            await asyncio.sleep(max(0, until - asyncio.get_running_loop().time()) + 0.01)
            return [Unknown("late")] * len(part)
        return [Ok()] * len(part)

    limits = Limits(items=10, max_bytes=10_000, at_once=1, within_s=0.1)
    outcomes = await deliver_in_parts(batch_of(40), encode, send, limits)

    assert outcomes[:20] == [Ok()] * 10 + [Unknown("late")] * 10
    assert all(isinstance(outcome, Retry) and outcome.after_ms == 0 for outcome in outcomes[20:])


async def test_halving_ends_when_time_is_up() -> None:
    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        await asyncio.sleep(0.06)
        return [Permanent("bad", is_sure=len(part) == 1)] * len(part)

    limits = Limits(items=100, max_bytes=10_000, at_once=1, within_s=0.3)
    outcomes = await deliver_in_parts(batch_of(64), encode, send, limits)

    assert sum(isinstance(outcome, Retry) and outcome.after_ms == 0 for outcome in outcomes) > 30


async def test_a_service_that_fails_again_and_again_is_left_alone() -> None:
    calls = 0

    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        nonlocal calls
        calls += 1
        return [Retry("busy", 7000)] * len(part)

    outcomes = await deliver_in_parts(batch_of(100), encode, send, WIDE)

    assert calls <= 4
    assert outcomes[-1] == Retry("not sent: busy", 7000)


async def test_one_failure_among_successes_stops_nothing() -> None:
    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        return [Unknown("500") if "request-13" in names(part) else Ok()] * len(part)

    outcomes = await deliver_in_parts(batch_of(100), encode, send, WIDE)

    assert sum(outcome == Ok() for outcome in outcomes) == 90


async def test_an_event_that_came_back_often_travels_alone_and_last() -> None:
    calls: list[list[str]] = []

    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        calls.append(names(part))
        return [Ok()] * len(part)

    batch = [delivered(make_event(number), deliveries=9 if number < 2 else 1) for number in range(6)]
    limits = Limits(items=10, max_bytes=10_000, at_once=1, within_s=10)
    await deliver_in_parts(batch, encode, send, limits)

    assert calls == [["request-2", "request-3", "request-4", "request-5"], ["request-0"], ["request-1"]]


async def test_when_the_dispatcher_stops_calls_end_and_the_rest_is_handed_over_at_once() -> None:
    stop = asyncio.Event()
    stops_with(stop)

    async def send(part: Sequence[Packed], until: float) -> list[Outcome]:
        if "request-20" in names(part):
            stop.set()
            return [Permanent("one of these")] * len(part)
        return [Ok()] * len(part)

    limits = Limits(items=10, max_bytes=10_000, at_once=1, within_s=10)
    outcomes = await deliver_in_parts(batch_of(45), encode, send, limits)

    handed_over = Retry("not sent: the dispatcher stops", after_ms=0)
    assert outcomes == [Ok()] * 20 + [handed_over] * 25
