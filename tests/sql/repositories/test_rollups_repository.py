"""Sums per minute, hour and day are those of the rows, on both databases, whatever comes in what order, how often."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql import migrate
from sql.repositories import requests, rollups
from sql.repositories.rollups import LENGTH_MS, OTHER, By, Period, Totals, whole_periods
from sql.rows import RequestRow
from sql.statements import compile_statement
from sql.stores import Stores
from tests.support import rows
from tests.support.rollups import EVER_MS, totals_of
from tests.support.rows import NOW_MS

DAY_MS = LENGTH_MS["day"]
TODAY_MS = NOW_MS // DAY_MS * DAY_MS
OF: dict[By, Callable[[RequestRow], str]] = {
    "project": lambda row: row.project_id,
    "token": lambda row: row.token_id,
    "provider": lambda row: row.provider,
    "model": lambda row: row.model,
    "end_user": lambda row: row.end_user,
}
COUNTS = st.none() | st.integers(0, 2**31 - 1)
ROWS = st.builds(
    rows.request,
    event_id=st.sampled_from([f"event-{n}" for n in range(12)]),
    accepted_at_ms=st.integers(TODAY_MS - 2 * DAY_MS, TODAY_MS + 2 * DAY_MS),
    project_id=st.sampled_from(["", "p1", "p2"]),
    token_id=st.sampled_from(["", "t1", "t2"]),
    provider=st.sampled_from(["openai", "gemini"]),
    model=st.sampled_from(["", "gpt-5", "m\0", "ü" * 200]),
    end_user=st.sampled_from(["", "anna", "bert"]),
    status=st.sampled_from([0, 200, 429, 500]),
    cut=st.sampled_from(["", "client", "upstream"]),
    input_tokens=COUNTS,
    cache_write_1h_tokens=COUNTS,
    output_tokens=COUNTS,
    usage_source=st.sampled_from(["", "provider", "estimate"]),
    cost_microusd=st.none() | st.integers(0, 10**12),
)


async def kept(stores: Stores, some: Iterable[RequestRow]) -> list[RequestRow]:
    found = [await requests.get(stores.records, event_id) for event_id in {row.event_id for row in some}]
    return [row for row in found if row]


@given(batches=st.lists(st.lists(ROWS, max_size=6), max_size=6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_order_and_repetition_of_batches_gives_the_sums_of_the_rows(
    stores: Stores, batches: list[list[RequestRow]]
) -> None:
    await empty(stores)

    for batch in [*batches, *batches[::-1]]:
        await requests.insert_many(stores.records, batch, [])

    there = await kept(stores, [row for batch in batches for row in batch])
    for period in LENGTH_MS:
        for by in OF:
            found = await rollups.usage(stores.records, by, period, since_ms=0, until_ms=EVER_MS, limit=1000)
            assert {(u.start_ms, u.name): _totals(u) for u in found} == wanted(there, by, period)


def wanted(there: list[RequestRow], by: By, period: Period) -> dict[tuple[int, str], Totals]:
    groups: dict[tuple[int, str], list[RequestRow]] = {}
    for row in there:
        start_ms = row.accepted_at_ms // LENGTH_MS[period] * LENGTH_MS[period]
        name = OF[by](row)[:128].replace("\0", "\ufffd")
        groups.setdefault((start_ms, name), []).append(row)
    return {key: totals_of(group) for key, group in groups.items()}


def _totals(found: Totals) -> Totals:
    return Totals(**{name: getattr(found, name) for name in Totals.__struct_fields__})


async def empty(stores: Stores) -> None:
    for table in ("requests", "request_minutes", "rollups", "rollup_names"):
        await stores.records.execute(compile_statement("empty", f"DELETE FROM {table}"), {})


async def test_the_same_events_from_many_dispatchers_at_once_are_summed_once(stores: Stores) -> None:
    batch = [rows.request(end_user=f"user-{n % 7}", accepted_at_ms=NOW_MS + n) for n in range(40)]

    await asyncio.gather(*(requests.insert_many(stores.records, some, []) for some in (batch, batch[::-1]) * 3))

    assert await rollups.spent(stores.records, since_ms=0, until_ms=EVER_MS) == totals_of(batch)


@given(minutes=st.tuples(st.integers(0, 4 * 1440), st.integers(0, 4 * 1440)).map(sorted))
def test_a_window_is_covered_without_gap_or_overlap_by_few_runs(minutes: list[int]) -> None:
    since, until = minutes[0] * 60_000, minutes[1] * 60_000

    runs = list(whole_periods(since, until))

    assert len(runs) <= 5
    assert [end for _, _, end in runs[:-1]] == [start for _, start, _ in runs[1:]]
    assert sum(end - start for _, start, end in runs) == until - since
    assert all(start % LENGTH_MS[period] == end % LENGTH_MS[period] == 0 for period, start, end in runs)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, "abcd"),
        ({"project_id": "p1"}, "abd"),
        ({"token_id": "t2"}, "b"),
        ({"model": "claude"}, "c"),
        ({"provider": "anthropic"}, "c"),
        ({"end_user": "anna"}, "bd"),
        ({"end_user": "anna", "project_id": "p1", "since_ms": NOW_MS // 60_000 * 60_000 + 60_000}, "d"),
        ({"end_user": ""}, ""),
        ({"until_ms": NOW_MS + 60_000}, "abc"),
        ({"until_ms": 0}, ""),
    ],
)
async def test_what_was_spent_is_of_those_who_are_asked_for(stores: Stores, chosen: dict[str, Any], names: str) -> None:
    some = {
        "a": rows.request(cost_microusd=1),
        "b": rows.request(cost_microusd=10, token_id="t2", end_user="anna"),
        "c": rows.request(cost_microusd=100, project_id="p2", model="claude", provider="anthropic"),
        "d": rows.request(cost_microusd=None, end_user="anna", accepted_at_ms=NOW_MS + 3 * DAY_MS),
    }
    await requests.insert_many(stores.records, list(some.values()), [])

    found = await rollups.spent(stores.records, **{"since_ms": 0, "until_ms": EVER_MS, **chosen})

    assert found == totals_of([some[name] for name in names])


async def test_what_was_spent_since_any_minute_is_exact(stores: Stores) -> None:
    some = [rows.request(accepted_at_ms=TODAY_MS + n * 47 * 60_000, cost_microusd=n) for n in range(120)]
    await requests.insert_many(stores.records, some, [])

    for since, until in ((1, 5000), (60, 61), (1439, 2881), (90, 3000), (0, 1440)):
        since_ms, until_ms = TODAY_MS + since * 60_000, TODAY_MS + until * 60_000
        inside = [row for row in some if since_ms <= row.accepted_at_ms < until_ms]
        assert await rollups.spent(stores.records, since_ms=since_ms, until_ms=until_ms) == totals_of(inside)


async def test_names_that_are_too_many_for_a_day_are_summed_as_others(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rollups.MOST, "end_user", 3)
    first = [rows.request(end_user=f"user-{n}") for n in range(5)]
    later = [rows.request(end_user=f"user-{n}") for n in (0, 1, 7)]
    elsewhere = [rows.request(end_user="user-9", project_id="p2"), rows.request(accepted_at_ms=NOW_MS - DAY_MS)]

    for batch in (first, later, elsewhere):
        await requests.insert_many(stores.records, batch, [])

    found = await rollups.usage(stores.records, "end_user", "day", since_ms=NOW_MS - 100, until_ms=EVER_MS, limit=100)
    assert found == []
    found = await rollups.usage(stores.records, "end_user", "day", since_ms=TODAY_MS, until_ms=EVER_MS, limit=100)
    sums = {one.name: one.requests for one in found}
    assert sums == {OTHER: 3, "user-0": 2, "user-1": 2, "user-2": 1, "user-9": 1}
    assert await rollups.spent(stores.records, since_ms=0, until_ms=EVER_MS) == totals_of([*first, *later, *elsewhere])


async def test_pages_of_usage_follow_one_another(stores: Stores) -> None:
    some = [rows.request(model=f"model-{n % 3}", accepted_at_ms=TODAY_MS + n * 60_000) for n in range(9)]
    await requests.insert_many(stores.records, some, [])
    window: dict[str, Any] = {"since_ms": TODAY_MS, "until_ms": TODAY_MS + DAY_MS}

    found, after = [], None
    while page := await rollups.usage(stores.records, "model", "hour", **window, after=after, limit=2):
        found += page
        after = (page[-1].start_ms, page[-1].name)

    assert [(one.name, one.requests) for one in found] == [("model-0", 3), ("model-1", 3), ("model-2", 3)]


async def test_minutes_that_have_been_kept_long_enough_go_and_their_hours_stay(stores: Stores) -> None:
    some = [rows.request(accepted_at_ms=TODAY_MS + n * 60_000, cost_microusd=5) for n in range(5)]
    await requests.insert_many(stores.records, some, [])

    deleted = [await rollups.delete_oldest_minute(stores.records, TODAY_MS + 3 * 60_000) for _ in range(5)]

    assert deleted == [1, 1, 1, 0, 0]
    assert await rollups.delete_names_before(stores.records, TODAY_MS + 1) == 1
    assert await rollups.spent(stores.records, since_ms=TODAY_MS, until_ms=TODAY_MS + DAY_MS) == totals_of(some)


async def test_the_migration_sums_what_was_recorded_before_it(stores: Stores) -> None:
    some = [
        rows.request(accepted_at_ms=TODAY_MS + n * 25 * 60_000, end_user="ü" * (n % 3) * 70, cost_microusd=n or None)
        for n in range(90)
    ]
    await requests.insert_many(stores.records, some, [])
    before = await everything(stores)

    await migrated(stores, "down")
    await migrated(stores, "up")

    assert await everything(stores) == before


async def migrated(stores: Stores, direction: str) -> None:
    """Only the migration that makes the sums: later ones need not be taken back for it."""
    migration = next(one for one in migrate.migrations() if one.name == "rollups")
    async with stores.records.transaction() as on:
        await migrate._run(on, getattr(migration, direction))


async def everything(stores: Stores) -> list[object]:
    window: dict[str, Any] = {"since_ms": 0, "until_ms": EVER_MS, "limit": 10_000}
    return [
        msgspec.to_builtins(await rollups.usage(stores.records, by, period, **window))
        for by in OF
        for period in LENGTH_MS
    ]
