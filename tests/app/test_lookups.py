"""What a worker remembers: forgotten when told, and not trusted while it hears nothing."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from admin.acts.projects import create_project
from admin.acts.tokens import create_token, revoke_token, rotate_token
from app import changes as changes_module
from app import lookups as module
from app.changes import Changes
from app.errors import StoreAway
from app.lookups import Lookups
from sql.repositories import tokens
from sql.rows import TokenRow
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, NOON_MS, StillClock
from tests.support.waiting import eventually_async

HOUR_MS = 3_600_000


async def a_token(stores: Stores, duration_ms: int | None = None) -> tuple[TokenRow, str]:
    project = await create_project(stores, StillClock(), ACTOR, name="p", api_key=None)
    return await create_token(
        stores, StillClock(), ACTOR, project_id=project.id, duration_ms=duration_ms, max_requests=None
    )


async def changed_unheard(stores: Stores, row: TokenRow) -> None:
    """As if the change of a revoked token had not arrived yet."""
    await tokens.update(stores.main, msgspec.structs.replace(row, is_active=False))


async def is_active(lookups: Lookups, token: str) -> bool:
    row = await lookups.token(token)
    return row is not None and row.is_active


def told(stores: Stores, *, poll_s: float = 60, stale_s: float = 600) -> tuple[Changes, Lookups]:
    changes = Changes(stores, poll_s=poll_s)
    lookups = Lookups(stores, changes, stale_s=stale_s)
    changes.tell(lookups.forget, "token", "project")
    return changes, lookups


@pytest.fixture
async def following(stores: Stores) -> AsyncIterator[Lookups]:
    changes, lookups = told(stores, poll_s=0.02)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(changes.follow(), name="follow changes")
        await eventually_async(lambda: has_heard(changes))
        yield lookups
        task.cancel()


async def has_heard(changes: Changes) -> bool:
    return changes.heard_at > 0


async def test_a_revoked_token_is_forgotten_under_both_its_secrets(stores: Stores, following: Lookups) -> None:
    row, old = await a_token(stores)
    _, new = await rotate_token(stores, StillClock(), ACTOR, row.id, grace_ms=HOUR_MS)
    assert [await is_active(following, secret) for secret in (old, new)] == [True, True]

    await revoke_token(stores, StillClock(), ACTOR, row.id)

    async def is_refused() -> bool:
        return [await is_active(following, secret) for secret in (old, new)] == [False, False]

    await eventually_async(is_refused)


@pytest.mark.parametrize(
    ("lives_ms", "old_ends_ms"), [(None, HOUR_MS), (24 * HOUR_MS, HOUR_MS), (HOUR_MS // 2, HOUR_MS // 2)]
)
async def test_the_old_secret_ends_with_its_grace_or_with_the_token(
    stores: Stores, lives_ms: int | None, old_ends_ms: int
) -> None:
    row, old = await a_token(stores, lives_ms)
    _, new = await rotate_token(stores, StillClock(), ACTOR, row.id, grace_ms=HOUR_MS)
    _, lookups = told(stores)

    by_old, by_new = await lookups.token(old), await lookups.token(new)

    assert by_old is not None and by_new is not None
    assert by_old.id == by_new.id == row.id
    assert by_old.expires_at_ms == NOON_MS + old_ends_ms
    assert by_new.expires_at_ms == row.expires_at_ms


async def test_memory_is_used_while_the_changes_are_read(stores: Stores) -> None:
    changes, lookups = told(stores)
    row, token = await a_token(stores)
    await changes.ask()
    assert await is_active(lookups, token)

    await changed_unheard(stores, row)

    assert await is_active(lookups, token)


async def test_a_deaf_worker_reads_a_row_again_before_it_trusts_it(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, lookups = told(stores)
    row, token = await a_token(stores)
    await changes.ask()
    assert await is_active(lookups, token)
    monkeypatch.setattr(module, "_DEAF_S", 0.0)  # so long ago that it heard anything

    await changed_unheard(stores, row)

    assert not await is_active(lookups, token)


@pytest.mark.parametrize(("stale_s", "works"), [(600, True), (0, False)])
async def test_deaf_and_without_its_database_it_has_the_stale_rule(
    sqlite_stores: Stores, monkeypatch: pytest.MonkeyPatch, stale_s: float, works: bool
) -> None:
    changes, lookups = told(sqlite_stores, stale_s=stale_s)
    _, token = await a_token(sqlite_stores)
    assert await is_active(lookups, token)
    changes.store_is_away = True

    if works:
        assert await is_active(lookups, token)
    else:
        with pytest.raises(StoreAway):
            await lookups.token(token)


async def test_what_is_known_does_not_wait_for_a_database_that_stands_still(
    sqlite_stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lookups = told(sqlite_stores)
    _, token = await a_token(sqlite_stores)
    assert await is_active(lookups, token)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(tokens, "by_hash", never)
    monkeypatch.setattr(module, "_REREAD_S", 0.01)

    assert await is_active(lookups, token)


@pytest.mark.parametrize("store_settings", ["postgres"], indirect=True)
async def test_a_signal_alone_is_enough(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "_UNTOLD_POLL_S", 3600.0)
    monkeypatch.setattr(module, "_DEAF_S", 3600.0)
    changes, lookups = told(stores, poll_s=3600)
    row, token = await a_token(stores)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(changes.follow(), name="follow changes")
        await eventually_async(lambda: has_heard(changes))
        await eventually_async(lambda: is_listening(changes))
        assert await is_active(lookups, token)

        await revoke_token(stores, StillClock(), ACTOR, row.id)

        await eventually_async(lambda: is_refused(lookups, token))
        task.cancel()


async def is_listening(changes: Changes) -> bool:
    return changes._bell.is_connected


async def is_refused(lookups: Lookups, token: str) -> bool:
    return not await is_active(lookups, token)
