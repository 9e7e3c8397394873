"""Acts on projects: the row, the audit and the signal together, or none of them."""

import asyncio

import msgspec
import pytest

from admin.acts.errors import Conflict, Invalid, NotFound
from admin.acts.projects import create_project, update_project
from admin.acts.tokens import create_token
from config.secret import Secret
from sql.repositories import api_keys, audit, changes, projects, tokens
from sql.rows import AuditFilter, AuditRow, ProjectRow
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, NOON_MS, StillClock

KEY = Secret("sk-provider-0123456789abcdef")


async def a_project(stores: Stores, name: str = "one", **given: object) -> ProjectRow:
    return await create_project(
        stores,
        StillClock(),
        ACTOR,
        **{"name": name, "api_key": KEY, "provider": "openai", **given},  # type: ignore[arg-type]
    )


async def newest(stores: Stores) -> AuditRow:
    return (await audit.list_page(stores.main, AuditFilter(), limit=1))[0]


async def signals(stores: Stores, after: int = 0) -> list[tuple[str, str]]:
    return [(row.kind, row.key) for row in await changes.after(stores.main, after, 100)]


async def test_a_new_project_has_its_row_its_key_its_audit_and_its_signal(stores: Stores) -> None:
    row = await a_project(stores)

    assert await projects.get(stores.main, row.id) == row
    keys = await api_keys.for_project(stores.main, stores.sealer, row.id)
    assert [(key.provider, key.key.reveal(), key.weight) for key in keys] == [("openai", KEY.reveal(), 1)]
    assert await signals(stores) == [("project", row.id)]
    told = await newest(stores)
    assert (told.action, told.outcome, told.object_id, told.at_ms) == ("project.create", "success", row.id, NOON_MS)
    assert (told.actor, told.client_ip, told.request_id) == ("management_token", "192.0.2.7", "request-1")


async def test_no_audit_row_holds_a_key_in_clear(stores: Stores) -> None:
    row = await a_project(stores)
    other = Secret("sk-another-0123456789abcdef")
    await update_project(stores, StillClock(), ACTOR, row.id, api_key=other, provider="openai")

    rows = await audit.list_page(stores.main, AuditFilter(), limit=10)

    told = msgspec.json.encode(rows).decode()
    assert KEY.reveal() not in told and other.reveal() not in told
    assert msgspec.json.decode(rows[0].before or "") == {"api_key": "sk-provi...cdef"}
    assert msgspec.json.decode(rows[0].after or "") == {"api_key": "sk-anoth...cdef"}


async def test_a_taken_name_is_a_conflict_and_leaves_nothing_behind(stores: Stores) -> None:
    await a_project(stores)
    seen = await changes.last_id(stores.main)

    with pytest.raises(Conflict) as raised:
        await a_project(stores)

    assert raised.value.field == "name"
    assert await projects.count(stores.main, search=None, is_active=None) == 1
    assert await audit.count(stores.main, AuditFilter()) == 1
    assert await signals(stores, seen) == []


async def test_only_the_changed_fields_are_audited(stores: Stores) -> None:
    row = await a_project(stores)

    await update_project(stores, StillClock(), ACTOR, row.id, name="two", is_active=True)

    told = await newest(stores)
    assert (told.before, told.after) == ('{"name":"one"}', '{"name":"two"}')


async def test_a_change_that_changes_nothing_leaves_no_trace(stores: Stores) -> None:
    row = await a_project(stores)
    seen = await changes.last_id(stores.main)

    same = await update_project(stores, StillClock(), ACTOR, row.id, name="one", api_key=KEY, provider="openai")

    assert same == row
    assert await audit.count(stores.main, AuditFilter()) == 1
    assert await signals(stores, seen) == []


async def test_switching_off_and_on_sets_and_clears_when(stores: Stores) -> None:
    row = await a_project(stores)

    off = await update_project(stores, StillClock(NOON_MS + 5), ACTOR, row.id, is_active=False)
    still = await update_project(stores, StillClock(NOON_MS + 9), ACTOR, row.id, is_active=False, name="off")
    on = await update_project(stores, StillClock(), ACTOR, row.id, is_active=True)

    assert (off.is_active, off.deactivated_at_ms) == (False, NOON_MS + 5)
    assert still.deactivated_at_ms == NOON_MS + 5
    assert (on.is_active, on.deactivated_at_ms) == (True, None)


async def test_switching_off_can_take_the_tokens_along(stores: Stores) -> None:
    row = await a_project(stores)
    token, _ = await create_token(stores, StillClock(), ACTOR, project_id=row.id, duration_ms=60_000, max_requests=None)
    seen = await changes.last_id(stores.main)

    await update_project(stores, StillClock(), ACTOR, row.id, is_active=False, revoke_tokens=True)

    revoked = await tokens.get(stores.main, token.id)
    assert revoked is not None and not revoked.is_active
    assert set(await signals(stores, seen)) == {("token", token.token_hash), ("project", row.id)}
    assert msgspec.json.decode((await newest(stores)).after or "")["tokens_revoked"] == 1


async def test_tokens_are_revoked_only_together_with_switching_off(stores: Stores) -> None:
    row = await a_project(stores)

    with pytest.raises(Invalid) as raised:
        await update_project(stores, StillClock(), ACTOR, row.id, revoke_tokens=True)

    assert raised.value.field == "revoke_tokens"


async def test_an_unknown_project_is_not_found(stores: Stores) -> None:
    with pytest.raises(NotFound):
        await update_project(stores, StillClock(), ACTOR, "nobody", name="x")


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 201, "nul\x00", "half\ud800"])
async def test_names_that_cannot_be_are_refused(sqlite_stores: Stores, name: str) -> None:
    with pytest.raises(Invalid) as raised:
        await a_project(sqlite_stores, name)

    assert raised.value.field == "name"


@pytest.mark.parametrize(
    "key", ["", "sk-12345...abcd", "sk-****", "two words", "line\r\nX-Evil: 1", "kéy", "enc:v1:AAAA"]
)
async def test_keys_that_cannot_be_sent_or_are_obfuscated_are_refused(sqlite_stores: Stores, key: str) -> None:
    with pytest.raises(Invalid) as raised:
        await a_project(sqlite_stores, api_key=Secret(key))

    assert raised.value.field == "api_key"


async def test_changes_at_the_same_time_do_not_undo_each_other(stores: Stores) -> None:
    row = await a_project(stores)

    await asyncio.gather(
        update_project(stores, StillClock(), ACTOR, row.id, name="renamed"),
        update_project(stores, StillClock(), ACTOR, row.id, is_active=False),
        update_project(stores, StillClock(), ACTOR, row.id, recording="off"),
    )

    now = await projects.get(stores.main, row.id)
    assert now is not None
    assert (now.name, now.is_active, now.recording) == ("renamed", False, "off")
    assert await audit.verify(stores.main) is None
