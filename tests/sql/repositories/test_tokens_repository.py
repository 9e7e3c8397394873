"""Tokens on both databases: what is exact must be exact while everyone asks at once."""

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import Settings
from sql.errors import BrokenReference, Conflict
from sql.repositories import projects, tokens
from sql.rows import TokenRow, TokenUsage
from sql.stores import Stores, open_stores
from tests.support import rows
from tests.support.rows import NOW_MS


@pytest.fixture
async def project_id(stores: Stores) -> str:
    row = rows.project()
    await projects.create(stores.main, row)
    return row.id


async def _create(stores: Stores, project_id: str, **said: object) -> TokenRow:
    row = rows.token(project_id, **said)
    await tokens.create(stores.main, row)
    return row


async def test_a_token_is_found_by_its_hash_and_its_id(stores: Stores, project_id: str) -> None:
    row = await _create(stores, project_id, expires_at_ms=NOW_MS + 1, max_requests=7, last_used_at_ms=NOW_MS)

    assert await tokens.by_hash(stores.main, row.token_hash) == row
    assert await tokens.get(stores.main, row.id) == row
    assert await tokens.by_hash(stores.main, "no such hash") is None


async def test_a_token_of_no_project_is_refused(stores: Stores) -> None:
    with pytest.raises(BrokenReference):
        await tokens.create(stores.main, rows.token("nobody"))


async def test_the_same_hash_twice_is_a_conflict(stores: Stores, project_id: str) -> None:
    row = await _create(stores, project_id)

    with pytest.raises(Conflict) as caught:
        await _create(stores, project_id, token_hash=row.token_hash)

    assert caught.value.field == "token_hash"


async def test_an_update_leaves_the_counts_alone(stores: Stores, project_id: str) -> None:
    row = await _create(stores, project_id)
    await tokens.admit(stores.main, row.id, NOW_MS)
    stale = msgspec.structs.replace(
        row, is_active=False, max_requests=3, expires_at_ms=5, deactivated_at_ms=4, hint="h"
    )

    assert await tokens.update(stores.main, stale)

    assert await tokens.get(stores.main, row.id) == msgspec.structs.replace(
        stale, request_count=1, last_used_at_ms=NOW_MS
    )


async def test_a_quota_is_exact_while_many_ask_over_two_connections(
    stores: Stores, project_id: str, store_settings: Settings
) -> None:
    row = await _create(stores, project_id, max_requests=20)
    other = open_stores(store_settings)

    async with asyncio.timeout(60):
        calls = (tokens.admit((stores, other)[n % 2].main, row.id, NOW_MS + n) for n in range(50))
        answers = await asyncio.gather(*calls)
    await other.close()

    assert sum(answers) == 20
    found = await tokens.get(stores.main, row.id)
    assert found is not None
    assert found.request_count == 20


@pytest.mark.parametrize(
    ("said", "is_admitted"),
    [
        ({}, True),
        ({"is_active": False}, False),
        ({"expires_at_ms": NOW_MS}, False),
        ({"expires_at_ms": NOW_MS + 1}, True),
        ({"max_requests": 1}, True),
        ({"max_requests": 1, "request_count": 1}, False),
        ({"max_requests": 0}, False),
    ],
)
async def test_admission(stores: Stores, project_id: str, said: dict[str, object], is_admitted: bool) -> None:
    row = await _create(stores, project_id, **said)

    assert await tokens.admit(stores.main, row.id, NOW_MS) is is_admitted


async def test_last_used_never_goes_back(stores: Stores, project_id: str) -> None:
    row = await _create(stores, project_id, last_used_at_ms=NOW_MS + 10)

    await tokens.admit(stores.main, row.id, NOW_MS)
    await tokens.add_usage(stores.main, [TokenUsage(id=row.id, requests=2, cache_hits=1, last_used_at_ms=NOW_MS)])

    found = await tokens.get(stores.main, row.id)
    assert found == msgspec.structs.replace(row, request_count=3, cache_hit_count=1)


async def test_usage_from_many_workers_adds_up(stores: Stores, project_id: str) -> None:
    made = [await _create(stores, project_id) for _ in range(5)]
    usages = [TokenUsage(id=row.id, requests=3, cache_hits=1, last_used_at_ms=NOW_MS) for row in made]

    await asyncio.gather(*(tokens.add_usage(stores.main, usages[:: 1 if n % 2 else -1]) for n in range(8)))

    counts = [
        found and (found.request_count, found.cache_hit_count)
        for found in [await tokens.get(stores.main, r.id) for r in made]
    ]
    assert counts == [(24, 8)] * 5


async def test_a_token_is_revoked_once(stores: Stores, project_id: str) -> None:
    row = await _create(stores, project_id)

    assert await tokens.revoke(stores.main, row.id, NOW_MS)
    assert not await tokens.revoke(stores.main, row.id, NOW_MS + 5)
    assert not await tokens.revoke(stores.main, "nobody", NOW_MS)
    assert await tokens.get(stores.main, row.id) == msgspec.structs.replace(
        row, is_active=False, deactivated_at_ms=NOW_MS
    )


async def test_revoking_all_names_those_that_were_active(stores: Stores, project_id: str) -> None:
    active = [await _create(stores, project_id) for _ in range(3)]
    await _create(stores, project_id, is_active=False)
    neighbour = rows.project()
    await projects.create(stores.main, neighbour)
    other = await _create(stores, neighbour.id)

    revoked = await tokens.revoke_all(stores.main, project_id, NOW_MS)

    assert {one.token_hash for one in revoked} == {row.token_hash for row in active}
    assert {one.previous_hash for one in revoked} == {None}
    assert await tokens.get(stores.main, other.id) == other


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({}, "edcba"),
        ({"is_active": True}, "ecba"),
        ({"is_active": False}, "d"),
        ({"is_expired": True}, "b"),
        ({"is_expired": False}, "edca"),
        ({"is_expired": False, "is_active": True}, "eca"),
        ({"is_used_up": True}, "e"),
        ({"is_used_up": False}, "dcba"),
    ],
)
async def test_filters_of_the_list(stores: Stores, project_id: str, chosen: dict[str, bool], wanted: str) -> None:
    await _create(stores, project_id, id="a", created_at_ms=1)
    await _create(stores, project_id, id="b", created_at_ms=2, expires_at_ms=NOW_MS)
    await _create(stores, project_id, id="c", created_at_ms=3, expires_at_ms=NOW_MS + 1)
    await _create(stores, project_id, id="d", created_at_ms=4, is_active=False)
    await _create(stores, project_id, id="e", created_at_ms=5, max_requests=2, request_count=2)

    page = await tokens.list_page(stores.main, project_id=project_id, now_ms=NOW_MS, limit=9, **chosen)  # type: ignore[arg-type]

    assert "".join(row.id for row in page) == wanted
    assert await tokens.count(stores.main, project_id=project_id, now_ms=NOW_MS, **chosen) == len(wanted)
    assert await tokens.count(stores.main, project_id="other", now_ms=NOW_MS, **chosen) == 0


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.integers(0, 3), max_size=15), size=st.integers(1, 5))
async def test_pages_of_tokens_together_are_the_whole_list(
    stores: Stores, project_id: str, times: list[int], size: int
) -> None:
    for at in times:
        await _create(stores, project_id, created_at_ms=at)

    whole = await tokens.list_page(stores.main, now_ms=NOW_MS, limit=10_000)
    paged, after = [], None
    while page := await tokens.list_page(stores.main, now_ms=NOW_MS, after=after, limit=size):
        paged += page
        after = (page[-1].created_at_ms, page[-1].id)

    assert paged == whole
    assert whole == sorted(whole, key=lambda row: (row.created_at_ms, row.id), reverse=True)
