"""Recorded exchanges on both databases."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.errors import StoreError
from sql.repositories import requests
from sql.rows import RequestFilter, RequestRow
from sql.stores import Stores
from tests.support import rows
from tests.support.rows import NOW_MS

MINUTE_MS = 60_000
START_MS = NOW_MS // MINUTE_MS * MINUTE_MS


async def test_an_exchange_is_read_as_it_was_written(stores: Stores) -> None:
    row = rows.request(path="/v1/ü 💶", user_agent='"quoted" \\', cost_microusd=2**40, streamed=False, cached=True)
    sides = [rows.body(row.event_id), rows.body(row.event_id, "response", truncated=True, data=b"")]

    await requests.insert_many(stores.records, [row], sides)

    assert await requests.get(stores.records, row.event_id) == row
    assert await requests.bodies(stores.records, row.event_id) == sides


async def test_an_exchange_without_usage_or_timings_keeps_them_unknown(stores: Stores) -> None:
    unknown = {name: None for name in RequestRow.__struct_fields__ if name.endswith(("_tokens", "_us"))}
    row = rows.request(status=0, **unknown)

    await requests.insert_many(stores.records, [row], [])

    assert await requests.get(stores.records, row.event_id) == row
    assert await requests.get(stores.records, "nobody") is None
    assert await requests.bodies(stores.records, row.event_id) == []


async def test_a_nul_in_what_a_client_sent_is_replaced_not_refused(stores: Stores) -> None:
    row = rows.request(user_agent="a\0b")

    await requests.insert_many(stores.records, [row], [])

    kept = await requests.get(stores.records, row.event_id)
    assert kept is not None
    assert kept.user_agent == "a\ufffdb"


async def test_a_redelivery_changes_nothing(stores: Stores) -> None:
    first, second = rows.request(), rows.request()
    await requests.insert_many(stores.records, [first], [rows.body(first.event_id)])

    new = await requests.insert_many(
        stores.records,
        [rows.request(event_id=first.event_id, status=500), second],
        [rows.body(first.event_id, data=b"other"), rows.body(second.event_id)],
    )

    assert new == 1
    assert await requests.get(stores.records, first.event_id) == first
    assert await requests.bodies(stores.records, first.event_id) == [rows.body(first.event_id)]
    assert (await requests.summary(stores.records, NOW_MS, NOW_MS + 1)).requests == 2


async def test_the_same_events_from_two_dispatchers_at_once_are_counted_once(stores: Stores) -> None:
    batch = [rows.request() for _ in range(20)]

    counts = await asyncio.gather(*(requests.insert_many(stores.records, batch, []) for _ in range(6)))

    assert sum(counts) == 20
    assert (await requests.summary(stores.records, NOW_MS, NOW_MS + 1)).requests == 20


async def test_a_deleted_body_does_not_come_back_with_a_redelivery(stores: Stores) -> None:
    row = rows.request()
    await requests.insert_many(stores.records, [row], [rows.body(row.event_id)])
    await requests.delete_bodies_before(stores.records, NOW_MS + 1, 10)

    await requests.insert_many(stores.records, [row], [rows.body(row.event_id)])

    assert await requests.bodies(stores.records, row.event_id) == []


async def test_nothing_is_written_when_one_row_cannot_be(stores: Stores) -> None:
    good = rows.request()

    with pytest.raises(StoreError):
        await requests.insert_many(stores.records, [good], [rows.body(good.event_id, side="neither")])

    assert await requests.get(stores.records, good.event_id) is None


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (RequestFilter(project_id="p2"), "b"),
        (RequestFilter(token_id="t2"), "b"),
        (RequestFilter(model="claude"), "c"),
        (RequestFilter(provider="anthropic"), "c"),
        (RequestFilter(status_class=2), "ab"),
        (RequestFilter(status_class=4), "c"),
        (RequestFilter(status_class=5), "d"),
        (RequestFilter(status_class=0), "e"),
        (RequestFilter(code="rate_limit_exceeded"), "c"),
        (RequestFilter(request_id="req-b"), "b"),
        (RequestFilter(request_id="req-"), "abcde"),
        (RequestFilter(request_id="%"), ""),
        (RequestFilter(since_ms=NOW_MS + 2, until_ms=NOW_MS + 4), "cd"),
        (RequestFilter(status_class=5, project_id="p1", since_ms=NOW_MS, model="gpt-5"), "d"),
        (RequestFilter(status_class=5, project_id="p2"), ""),
        (RequestFilter(), "abcde"),
    ],
)
async def test_each_filter_finds_its_exchanges(stores: Stores, chosen: RequestFilter, wanted: str) -> None:
    await requests.insert_many(stores.records, _five(), [])

    page = await requests.list_page(stores.records, chosen, limit=10)

    assert "".join(row.event_id for row in reversed(page)) == wanted
    assert await requests.count_capped(stores.records, chosen, 100) == len(wanted)


def _five() -> list[RequestRow]:
    return [
        rows.request(event_id="a", request_id="req-a", accepted_at_ms=NOW_MS),
        rows.request(event_id="b", request_id="req-b", accepted_at_ms=NOW_MS + 1, project_id="p2", token_id="t2"),
        rows.request(event_id="c", request_id="req-c", accepted_at_ms=NOW_MS + 2, model="claude", provider="anthropic",
                     status=429, code="rate_limit_exceeded"),
        rows.request(event_id="d", request_id="req-d", accepted_at_ms=NOW_MS + 3, status=503, code="overloaded"),
        rows.request(event_id="e", request_id="req-e", accepted_at_ms=NOW_MS + 4, status=0, cut="interrupted"),
    ]  # fmt: skip


async def test_counting_stops_at_the_cap(stores: Stores) -> None:
    await requests.insert_many(stores.records, [rows.request() for _ in range(7)], [])

    assert await requests.count_capped(stores.records, RequestFilter(), 5) == 5


async def test_the_summary_adds_up_usage_and_errors(stores: Stores) -> None:
    await requests.insert_many(stores.records, _five(), [])
    await requests.insert_many(stores.records, [rows.request(cut="upstream"), rows.request(cut="client")], [])

    everything = await requests.summary(stores.records, NOW_MS, NOW_MS + 1)
    of_one = await requests.summary(stores.records, NOW_MS, NOW_MS + 1, "p2")

    assert (everything.requests, everything.errors) == (7, 4)
    assert (everything.prompt_tokens, everything.completion_tokens) == (7 * 15, 7 * 9)
    assert (of_one.requests, of_one.errors) == (1, 0)


async def test_unknown_costs_stay_unknown_and_known_ones_add_up(stores: Stores) -> None:
    async def cost() -> int | None:
        return (await requests.summary(stores.records, NOW_MS, NOW_MS + 1)).cost_microusd

    await requests.insert_many(stores.records, [rows.request(cost_microusd=None)], [])
    assert await cost() is None

    await requests.insert_many(stores.records, [rows.request(cost_microusd=5), rows.request(cost_microusd=None)], [])
    await requests.insert_many(stores.records, [rows.request(cost_microusd=0), rows.request(cost_microusd=7)], [])
    await requests.insert_many(stores.records, [rows.request(cost_microusd=None)], [])
    assert await cost() == 12


async def test_the_summary_is_bounded_by_its_window(stores: Stores) -> None:
    for minutes in (-1, 0, 1, 2):
        await requests.insert_many(stores.records, [rows.request(accepted_at_ms=START_MS + minutes * MINUTE_MS)], [])

    found = await requests.summary(stores.records, START_MS, START_MS + 2 * MINUTE_MS)

    assert found.requests == 2


async def test_percentiles_are_of_the_exchanges_that_ended(stores: Stores) -> None:
    took = [rows.request(last_byte_us=n) for n in range(1, 101)]
    await requests.insert_many(stores.records, [*took, rows.request(last_byte_us=None)], [])

    found = await requests.summary(stores.records, NOW_MS, NOW_MS + 1)

    assert (found.p50_us, found.p95_us) == (51, 96)


async def test_an_empty_window_has_no_percentiles(stores: Stores) -> None:
    found = await requests.summary(stores.records, NOW_MS, NOW_MS + 1)

    assert (found.requests, found.errors, found.p50_us, found.p95_us) == (0, 0, None, None)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.lists(st.integers(0, 600_000), max_size=15), bucket_ms=st.sampled_from([1000, 15_000, 60_000, 300_000])
)
async def test_a_series_has_every_exchange_in_its_bucket(stores: Stores, offsets: list[int], bucket_ms: int) -> None:
    since_ms = await _fresh_window(stores)
    await requests.insert_many(
        stores.records, [rows.request(accepted_at_ms=since_ms + at, status=200 + at % 2 * 300) for at in offsets], []
    )

    found = await requests.series(stores.records, since_ms, since_ms + 660_000, bucket_ms)

    expected: dict[int, tuple[int, int]] = {}
    for at in offsets:
        bucket = (since_ms + at) // bucket_ms * bucket_ms
        count, errors = expected.get(bucket, (0, 0))
        expected[bucket] = (count + 1, errors + at % 2)
    assert found == [(bucket, *expected[bucket]) for bucket in sorted(expected)]


async def _fresh_window(stores: Stores) -> int:
    """A whole quarter of an hour that no example before has used."""
    newest = await requests.list_page(stores.records, RequestFilter(), limit=1)
    return (newest[0].accepted_at_ms if newest else START_MS) // 900_000 * 900_000 + 1_800_000


async def test_bodies_are_deleted_oldest_first_and_a_piece_at_a_time(stores: Stores) -> None:
    batch = [rows.request(event_id=f"e{n}", accepted_at_ms=NOW_MS + n) for n in range(6)]
    await requests.insert_many(stores.records, batch, [rows.body(row.event_id) for row in batch])

    deleted = [await requests.delete_bodies_before(stores.records, NOW_MS + 5, 2) for _ in range(4)]

    assert deleted == [2, 2, 1, 0]
    assert [len(await requests.bodies(stores.records, f"e{n}")) for n in range(6)] == [0, 0, 0, 0, 0, 1]
    assert await requests.get(stores.records, "e0") == batch[0]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.integers(0, 3), max_size=15), size=st.integers(1, 5))
async def test_pages_of_requests_together_are_the_whole_list(stores: Stores, times: list[int], size: int) -> None:
    await requests.insert_many(stores.records, [rows.request(accepted_at_ms=NOW_MS + at) for at in times], [])

    whole = await requests.list_page(stores.records, RequestFilter(), limit=10_000)
    paged, before = [], None
    while page := await requests.list_page(stores.records, RequestFilter(), before=before, limit=size):
        paged += page
        before = (page[-1].accepted_at_ms, page[-1].event_id)

    assert paged == whole
    assert whole == sorted(whole, key=lambda row: (row.accepted_at_ms, row.event_id), reverse=True)
