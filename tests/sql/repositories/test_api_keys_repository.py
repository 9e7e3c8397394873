"""API keys on both databases: sealed at rest, in the clear only when read."""

import msgspec
import pytest

from config.secret import Secret
from sql.errors import BrokenReference, SealBroken, StoreError
from sql.repositories import api_keys, projects
from sql.sealing import PREFIX, Sealer, new_key
from sql.statements import compile_statement
from sql.stores import Stores
from tests.support import rows


@pytest.fixture
async def project_id(stores: Stores) -> str:
    row = rows.project()
    await projects.create(stores.main, row)
    return row.id


async def test_a_key_is_read_as_it_was_written(stores: Stores, project_id: str) -> None:
    row = rows.api_key(project_id, key=Secret("sk-ant-ü"), weight=3)

    await api_keys.create(stores.main, stores.sealer, row)

    assert await api_keys.get(stores.main, stores.sealer, row.id) == row
    assert await api_keys.for_project(stores.main, stores.sealer, project_id) == [row]


async def test_what_lies_in_the_table_is_sealed(stores: Stores, project_id: str) -> None:
    await api_keys.create(stores.main, stores.sealer, rows.api_key(project_id, key=Secret("sk-canary")))

    stored = await stores.main.fetch_one(compile_statement("look", "SELECT key FROM api_keys"), {})

    assert stored is not None
    assert stored["key"].startswith(PREFIX)
    assert "canary" not in stored["key"]


async def test_another_encryption_key_does_not_open_it(stores: Stores, project_id: str) -> None:
    await api_keys.create(stores.main, stores.sealer, rows.api_key(project_id))

    with pytest.raises(SealBroken, match="ENCRYPTION_KEY"):
        await api_keys.for_project(stores.main, Sealer(Secret(new_key())), project_id)


async def test_keys_come_by_provider_and_age(stores: Stores, project_id: str) -> None:
    young = rows.api_key(project_id, provider="openai", created_at_ms=3)
    old = rows.api_key(project_id, provider="openai", created_at_ms=2)
    other = rows.api_key(project_id, provider="anthropic", created_at_ms=9)
    for row in (young, old, other):
        await api_keys.create(stores.main, stores.sealer, row)

    assert await api_keys.for_project(stores.main, stores.sealer, project_id) == [other, old, young]


async def test_keys_of_many_projects_come_at_once(stores: Stores, project_id: str) -> None:
    bare, neighbour = rows.project(), rows.project()
    await projects.create(stores.main, bare)
    await projects.create(stores.main, neighbour)
    mine = rows.api_key(project_id)
    await api_keys.create(stores.main, stores.sealer, mine)
    await api_keys.create(stores.main, stores.sealer, rows.api_key(neighbour.id))

    found = await api_keys.for_projects(stores.main, stores.sealer, [project_id, bare.id, "nobody"])

    assert found == {project_id: [mine], bare.id: [], "nobody": []}
    assert await api_keys.for_projects(stores.main, stores.sealer, []) == {}


async def test_a_key_of_no_project_is_refused(stores: Stores) -> None:
    with pytest.raises(BrokenReference):
        await api_keys.create(stores.main, stores.sealer, rows.api_key("nobody"))


async def test_a_refused_key_is_not_in_the_error(stores: Stores, project_id: str) -> None:
    row = rows.api_key(project_id, key=Secret("sk-canary"), weight=-1)

    with pytest.raises(StoreError) as caught:
        await api_keys.create(stores.main, Sealer(None), row)

    chain = [
        caught.value,
        caught.value.__cause__,
        caught.value.__context__ if not caught.value.__suppress_context__ else None,
    ]
    assert "canary" not in " ".join(map(str, chain))


async def test_a_key_is_changed_and_deleted_only_through_its_project(stores: Stores, project_id: str) -> None:
    row = rows.api_key(project_id)
    await api_keys.create(stores.main, stores.sealer, row)
    changed = msgspec.structs.replace(row, key=Secret("sk-new"), weight=0, provider="gemini", updated_at_ms=7)

    assert not await api_keys.update(stores.main, stores.sealer, msgspec.structs.replace(changed, project_id="other"))
    assert not await api_keys.delete(stores.main, row.id, "other")
    assert await api_keys.update(stores.main, stores.sealer, changed)
    assert await api_keys.get(stores.main, stores.sealer, row.id) == changed
    assert await api_keys.delete(stores.main, row.id, project_id)
    assert not await api_keys.delete(stores.main, row.id, project_id)
    assert await api_keys.get(stores.main, stores.sealer, row.id) is None
