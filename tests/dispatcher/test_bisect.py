"""Finding refused events in refused batches: exactly those, at a bounded cost."""

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry
from dispatcher.bisect import deliver_bisected
from tests.dispatcher.scripted import delivered, make_event


class RefusesBatches:
    """Takes a batch only when nothing in it is bad, as a database does."""

    def __init__(self, bad: set[str]) -> None:
        self.bad = bad
        self.calls = 0
        self.taken: list[str] = []

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        self.calls += 1
        ids = [item.event.request_id for item in batch]
        if self.bad & set(ids):
            return [Permanent("bad")] * len(batch)
        self.taken += ids
        return [Ok()] * len(batch)


@given(st.integers(1, 100), st.sets(st.integers(0, 99), max_size=5))
async def test_exactly_the_bad_ones_are_refused_and_the_others_taken_once(count: int, numbers: set[int]) -> None:
    bad = {f"request-{number}" for number in numbers if number < count}
    backend = RefusesBatches(bad)
    batch = [delivered(make_event(number)) for number in range(count)]

    outcomes = await deliver_bisected(backend.deliver, batch)

    assert [isinstance(outcome, Permanent) for outcome in outcomes] == [i.event.request_id in bad for i in batch]
    assert backend.taken == [item.event.request_id for item in batch if item.event.request_id not in bad]
    assert backend.calls <= 2 * len(bad) * max(1, math.ceil(math.log2(count))) + 1


async def test_a_backend_that_tells_them_apart_is_believed() -> None:
    calls = []

    async def deliver(batch: Sequence[Delivered]) -> list[Outcome]:
        calls.append(len(batch))
        return [Ok(), Permanent("bad"), Retry("busy")]

    await deliver_bisected(deliver, [delivered(make_event(number)) for number in range(3)])

    assert calls == [3]


async def test_a_backend_that_is_sure_is_not_asked_again() -> None:
    calls = []

    async def deliver(batch: Sequence[Delivered]) -> list[Outcome]:
        calls.append(len(batch))
        return [Permanent("bad", is_sure=True)] * len(batch)

    outcomes = await deliver_bisected(deliver, [delivered(make_event(number)) for number in range(4)])

    assert calls == [4]
    assert outcomes == [Permanent("bad", is_sure=True)] * 4
