"""Rotation: a new secret for the same thing, and the old one for a while."""

import msgspec
import pytest

from admin.acts.api_keys import add_api_key, remove_api_key, update_api_key
from admin.acts.errors import Conflict, Invalid, NotFound, NotUndoable, TokenEnded
from admin.acts.key_rotation import rotate_api_key, undo_rotation
from admin.acts.projects import create_project, update_project
from admin.acts.tokens import create_token, revoke_all, revoke_token, rotate_token, update_token
from config.secret import Secret
from sql.repositories import api_keys, audit, changes, tokens
from sql.rows import ApiKeyRow, AuditFilter, ProjectRow, TokenRow
from sql.sealing import hash_token
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, NOON_MS, StillClock

HOUR_MS = 3_600_000
OLD, NEW = Secret("sk-old-key-0123456789"), Secret("sk-new-key-0123456789")


@pytest.fixture
async def project(stores: Stores) -> ProjectRow:
    return await create_project(stores, StillClock(), ACTOR, name="p", api_key=None)


async def a_token(stores: Stores, project: ProjectRow) -> tuple[TokenRow, str]:
    return await create_token(
        stores, StillClock(), ACTOR, project_id=project.id, duration_ms=24 * HOUR_MS, max_requests=5
    )


async def a_key(stores: Stores, project: ProjectRow) -> ApiKeyRow:
    return await add_api_key(stores, StillClock(), ACTOR, project.id, provider="openai", key=OLD, weight=3)


async def keys(stores: Stores, project: ProjectRow) -> dict[str, tuple[str, int]]:
    rows = await api_keys.for_project(stores.main, stores.sealer, project.id)
    return {row.id: (row.key.reveal(), row.weight) for row in rows}


async def forgotten_since(stores: Stores, seen: int) -> set[str]:
    return {row.key for row in await changes.after(stores.main, seen, 99)}


async def test_a_rotated_token_is_found_by_both_secrets_and_stays_itself(stores: Stores, project: ProjectRow) -> None:
    row, old = await a_token(stores, project)
    assert await tokens.admit(stores.main, row.id, NOON_MS)

    rotated, new = await rotate_token(stores, StillClock(), ACTOR, row.id, grace_ms=HOUR_MS)

    found = await tokens.by_hash(stores.main, hash_token(new))
    assert found == await tokens.by_hash(stores.main, hash_token(old)) == await tokens.get(stores.main, row.id)
    assert found is not None
    assert (found.id, found.request_count, found.max_requests) == (row.id, 1, 5)
    assert (found.previous_hash, found.previous_until_ms) == (hash_token(old), NOON_MS + HOUR_MS)
    assert rotated.hint != row.hint


async def test_processes_forget_every_secret_that_a_token_had(stores: Stores, project: ProjectRow) -> None:
    row, first = await a_token(stores, project)
    _, second = await rotate_token(stores, StillClock(), ACTOR, row.id, grace_ms=HOUR_MS)
    seen = await changes.last_id(stores.main)

    _, third = await rotate_token(stores, StillClock(), ACTOR, row.id, grace_ms=HOUR_MS)
    assert await forgotten_since(stores, seen) == {hash_token(t) for t in (first, second, third)}
    assert await tokens.by_hash(stores.main, hash_token(first)) is None

    seen = await changes.last_id(stores.main)
    await update_token(stores, StillClock(), ACTOR, row.id, max_requests=9)
    assert await forgotten_since(stores, seen) == {hash_token(t) for t in (second, third)}

    seen = await changes.last_id(stores.main)
    await revoke_all(stores, StillClock(), ACTOR, project.id)
    assert await forgotten_since(stores, seen) == {hash_token(t) for t in (second, third)}


async def test_what_has_ended_is_not_rotated(stores: Stores, project: ProjectRow) -> None:
    revoked, _ = await a_token(stores, project)
    await revoke_token(stores, StillClock(), ACTOR, revoked.id)
    expired, _ = await a_token(stores, project)
    later = StillClock(NOON_MS + 24 * HOUR_MS)

    with pytest.raises(TokenEnded):
        await rotate_token(stores, StillClock(), ACTOR, revoked.id, grace_ms=0)
    with pytest.raises(TokenEnded):
        await rotate_token(stores, later, ACTOR, expired.id, grace_ms=0)
    with pytest.raises(NotFound):
        await rotate_token(stores, StillClock(), ACTOR, "nobody", grace_ms=0)
    with pytest.raises(Invalid):
        await rotate_token(stores, StillClock(), ACTOR, revoked.id, grace_ms=8 * 24 * HOUR_MS)


async def test_a_rotated_token_is_audited_without_a_secret(stores: Stores, project: ProjectRow) -> None:
    row, old = await a_token(stores, project)

    rotated, new = await rotate_token(stores, StillClock(), ACTOR, row.id, grace_ms=HOUR_MS)

    [told] = await audit.list_page(stores.main, AuditFilter(action="token.rotate"), limit=2)
    assert msgspec.json.decode(told.before or "") == {"token": row.hint}
    assert msgspec.json.decode(told.after or "") == {"token": rotated.hint, "old_until": "2026-09-21T15:13:20.000Z"}
    assert not any(secret in repr(told) for secret in (old, new, hash_token(old), hash_token(new)))


async def test_a_new_key_gets_the_traffic_and_the_old_one_waits(stores: Stores, project: ProjectRow) -> None:
    old = await a_key(stores, project)
    seen = await changes.last_id(stores.main)

    new = await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=NEW, grace_ms=HOUR_MS)

    assert await keys(stores, project) == {old.id: (OLD.reveal(), 0), new.id: (NEW.reveal(), 3)}
    assert await forgotten_since(stores, seen) == {project.id}
    [told] = await audit.list_page(stores.main, AuditFilter(action="api_key.rotate"), limit=2)
    assert OLD.reveal() not in repr(told) and NEW.reveal() not in repr(told)
    assert "old_until" in (told.after or "")


async def test_undone_the_old_key_has_its_place_back(stores: Stores, project: ProjectRow) -> None:
    old = await a_key(stores, project)
    new = await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=NEW, grace_ms=HOUR_MS)

    back = await undo_rotation(stores, StillClock(), ACTOR, project.id, new.id)

    assert await keys(stores, project) == {old.id: (OLD.reveal(), 3)}
    assert (back.id, back.replaced_by, back.retires_at_ms) == (old.id, None, None)
    with pytest.raises(NotUndoable):
        await undo_rotation(stores, StillClock(), ACTOR, project.id, old.id)


async def test_after_its_grace_the_old_key_is_gone_for_good(stores: Stores, project: ProjectRow) -> None:
    old = await a_key(stores, project)
    new = await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=NEW, grace_ms=HOUR_MS)

    assert await api_keys.delete_retired(stores.main, NOON_MS + HOUR_MS - 1) == 0
    with pytest.raises(NotUndoable):
        await undo_rotation(stores, StillClock(NOON_MS + HOUR_MS), ACTOR, project.id, new.id)
    assert await api_keys.delete_retired(stores.main, NOON_MS + HOUR_MS) == 1

    assert await keys(stores, project) == {new.id: (NEW.reveal(), 3)}


async def test_without_a_grace_it_is_gone_at_once(stores: Stores, project: ProjectRow) -> None:
    old = await a_key(stores, project)

    new = await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=NEW, grace_ms=0)

    assert await keys(stores, project) == {new.id: (NEW.reveal(), 3)}


async def test_a_key_that_waits_is_neither_changed_nor_rotated_but_may_be_removed(
    stores: Stores, project: ProjectRow
) -> None:
    old = await a_key(stores, project)
    new = await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=NEW, grace_ms=HOUR_MS)
    third = Secret("sk-third-key-0123456789")

    with pytest.raises(Conflict):
        await update_api_key(stores, StillClock(), ACTOR, project.id, old.id, weight=1)
    with pytest.raises(Conflict):
        await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=third, grace_ms=HOUR_MS)
    with pytest.raises(Conflict):
        await rotate_api_key(stores, StillClock(), ACTOR, project.id, new.id, key=OLD, grace_ms=HOUR_MS)
    await remove_api_key(stores, StillClock(), ACTOR, project.id, old.id)

    assert await keys(stores, project) == {new.id: (NEW.reveal(), 3)}


async def test_a_projects_api_key_means_the_one_in_use(stores: Stores, project: ProjectRow) -> None:
    old = await a_key(stores, project)
    new = await rotate_api_key(stores, StillClock(), ACTOR, project.id, old.id, key=NEW, grace_ms=HOUR_MS)
    third = Secret("sk-third-key-0123456789")

    await update_project(stores, StillClock(), ACTOR, project.id, api_key=third, provider="openai")

    assert await keys(stores, project) == {old.id: (OLD.reveal(), 0), new.id: (third.reveal(), 3)}
