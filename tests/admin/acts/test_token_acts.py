"""Acts on tokens: shown once, counted by nobody here, and gone when revoked."""

import asyncio

import msgspec
import pytest

from admin.acts.errors import Invalid, NotFound, ProjectInactive
from admin.acts.projects import create_project, update_project
from admin.acts.tokens import RevokedCount, create_token, revoke_all, revoke_token, update_token
from sql.repositories import audit, changes, tokens
from sql.rows import AuditFilter, ProjectRow, TokenRow
from sql.sealing import hash_token
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, NOON_MS, StillClock

HOUR_MS = 3_600_000


@pytest.fixture
async def project(stores: Stores) -> ProjectRow:
    return await create_project(stores, StillClock(), ACTOR, name="p", api_key=None)


async def a_token(
    stores: Stores, project: ProjectRow, duration_ms: int | None = HOUR_MS, max_requests: int | None = 5
) -> tuple[TokenRow, str]:
    return await create_token(
        stores, StillClock(), ACTOR, project_id=project.id, duration_ms=duration_ms, max_requests=max_requests
    )


async def test_a_new_token_is_found_by_its_hash_and_nowhere_in_clear(stores: Stores, project: ProjectRow) -> None:
    row, token = await a_token(stores, project)

    assert await tokens.by_hash(stores.main, hash_token(token)) == row
    assert (row.expires_at_ms, row.max_requests, row.request_count) == (NOON_MS + HOUR_MS, 5, 0)
    told = msgspec.json.encode(await audit.list_page(stores.main, AuditFilter(), limit=10)).decode()
    assert token not in told and row.token_hash not in told
    last = (await changes.after(stores.main, 0, 10))[-1]
    assert (last.kind, last.key) == ("token", row.token_hash)


async def test_a_token_may_live_for_ever_and_without_a_quota(stores: Stores, project: ProjectRow) -> None:
    row, _ = await a_token(stores, project, None, 0)

    assert (row.expires_at_ms, row.max_requests) == (None, None)


@pytest.mark.parametrize("duration_ms", [0, -1, 525_600 * 60_000 + 1])
async def test_a_token_lives_at_most_a_year(stores: Stores, project: ProjectRow, duration_ms: int) -> None:
    with pytest.raises(Invalid) as raised:
        await a_token(stores, project, duration_ms)

    assert raised.value.field == "duration_minutes"


async def test_an_inactive_or_unknown_project_gets_no_token(stores: Stores, project: ProjectRow) -> None:
    await update_project(stores, StillClock(), ACTOR, project.id, is_active=False)

    with pytest.raises(ProjectInactive):
        await a_token(stores, project)
    with pytest.raises(NotFound):
        await a_token(stores, msgspec.structs.replace(project, id="nobody"))


async def test_revoking_twice_changes_something_once(stores: Stores, project: ProjectRow) -> None:
    row, _ = await a_token(stores, project)
    before = await audit.count(stores.main, AuditFilter())

    first = await revoke_token(stores, StillClock(), ACTOR, row.id)
    second = await revoke_token(stores, StillClock(), ACTOR, row.id)

    assert (first, second) == (True, False)
    assert await audit.count(stores.main, AuditFilter()) == before + 1
    revoked = await tokens.get(stores.main, row.id)
    assert revoked is not None and (revoked.is_active, revoked.deactivated_at_ms) == (False, NOON_MS)


async def test_reactivation_keeps_the_quota_and_the_count(stores: Stores, project: ProjectRow) -> None:
    row, _ = await a_token(stores, project, max_requests=2)
    assert await tokens.admit(stores.main, row.id, NOON_MS)
    await revoke_token(stores, StillClock(), ACTOR, row.id)

    await update_token(stores, StillClock(), ACTOR, row.id, is_active=True)

    assert await tokens.admit(stores.main, row.id, NOON_MS)
    assert not await tokens.admit(stores.main, row.id, NOON_MS)
    again = await tokens.get(stores.main, row.id)
    assert again is not None
    assert (again.is_active, again.max_requests, again.request_count, again.deactivated_at_ms) == (True, 2, 2, None)


async def test_what_is_not_given_stays_and_none_is_a_value(stores: Stores, project: ProjectRow) -> None:
    row, _ = await a_token(stores, project)

    unlimited = await update_token(stores, StillClock(), ACTOR, row.id, max_requests=None)
    forever = await update_token(stores, StillClock(), ACTOR, row.id, expires_at_ms=None)

    assert (unlimited.max_requests, unlimited.expires_at_ms) == (None, row.expires_at_ms)
    assert (forever.max_requests, forever.expires_at_ms, forever.is_active) == (None, None, True)


async def test_a_token_can_be_extended_or_ended(stores: Stores, project: ProjectRow) -> None:
    row, _ = await a_token(stores, project)

    await update_token(stores, StillClock(), ACTOR, row.id, expires_at_ms=NOON_MS - 1)
    assert not await tokens.admit(stores.main, row.id, NOON_MS)
    await update_token(stores, StillClock(), ACTOR, row.id, expires_at_ms=NOON_MS + 1)
    assert await tokens.admit(stores.main, row.id, NOON_MS)

    told = (await audit.list_page(stores.main, AuditFilter(action="token.update"), limit=1))[0]
    assert msgspec.json.decode(told.after or "") == {"expires_at": "2026-09-21T14:13:20.001Z"}


async def test_revoking_all_says_how_many_and_signals_each(stores: Stores, project: ProjectRow) -> None:
    rows = [(await a_token(stores, project))[0] for _ in range(3)]
    await revoke_token(stores, StillClock(), ACTOR, rows[0].id)
    seen = await changes.last_id(stores.main)

    count = await revoke_all(stores, StillClock(), ACTOR, project.id)

    assert count == RevokedCount(revoked=2, already_revoked=1, total=3)
    keys = {(row.kind, row.key) for row in await changes.after(stores.main, seen, 10)}
    assert keys == {("token", row.token_hash) for row in rows[1:]}
    with pytest.raises(NotFound):
        await revoke_all(stores, StillClock(), ACTOR, "nobody")


async def test_a_change_at_the_same_time_does_not_bring_a_revoked_token_back(
    stores: Stores, project: ProjectRow
) -> None:
    for extra in range(8):
        row, _ = await a_token(stores, project)

        await asyncio.gather(
            update_token(stores, StillClock(), ACTOR, row.id, max_requests=10 + extra),
            revoke_token(stores, StillClock(), ACTOR, row.id),
            update_token(stores, StillClock(), ACTOR, row.id, expires_at_ms=NOON_MS + extra),
        )

        now = await tokens.get(stores.main, row.id)
        assert now is not None
        assert (now.is_active, now.max_requests, now.expires_at_ms) == (False, 10 + extra, NOON_MS + extra)
