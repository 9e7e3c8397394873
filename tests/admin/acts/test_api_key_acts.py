"""Acts on API keys: several of one provider, none twice, none in clear."""

import pytest

from admin.acts.api_keys import add_api_key, remove_api_key, update_api_key
from admin.acts.errors import Conflict, Invalid, NotFound
from admin.acts.projects import create_project, update_project
from config.secret import Secret
from sql.repositories import api_keys, audit, changes
from sql.rows import ApiKeyRow, AuditFilter, ProjectRow
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, StillClock

ONE, TWO = Secret("sk-one-0123456789abcdef"), Secret("sk-two-0123456789abcdef")


@pytest.fixture
async def project(stores: Stores) -> ProjectRow:
    return await create_project(stores, StillClock(), ACTOR, name="p", api_key=ONE, provider="openai")


async def keys(stores: Stores, project: ProjectRow) -> list[ApiKeyRow]:
    return await api_keys.for_project(stores.main, stores.sealer, project.id)


async def test_a_project_may_have_several_keys_of_a_provider(stores: Stores, project: ProjectRow) -> None:
    await add_api_key(stores, StillClock(), ACTOR, project.id, provider="openai", key=TWO, weight=3)

    assert {(row.key.reveal(), row.weight) for row in await keys(stores, project)} == {
        (ONE.reveal(), 1),
        (TWO.reveal(), 3),
    }


async def test_the_same_key_twice_is_a_conflict(stores: Stores, project: ProjectRow) -> None:
    with pytest.raises(Conflict):
        await add_api_key(stores, StillClock(), ACTOR, project.id, provider="openai", key=ONE)

    other = await add_api_key(stores, StillClock(), ACTOR, project.id, provider="openai", key=TWO)
    with pytest.raises(Conflict):
        await update_api_key(stores, StillClock(), ACTOR, project.id, other.id, key=ONE)

    assert len(await keys(stores, project)) == 2


async def test_a_key_of_another_provider_leaves_the_default_one_alone(stores: Stores, project: ProjectRow) -> None:
    await add_api_key(stores, StillClock(), ACTOR, project.id, provider="anthropic", key=TWO)

    await update_project(stores, StillClock(), ACTOR, project.id, api_key=Secret("sk-new-key"), provider="openai")

    assert {(row.provider, row.key.reveal()) for row in await keys(stores, project)} == {
        ("anthropic", TWO.reveal()),
        ("openai", "sk-new-key"),
    }


async def test_every_act_on_a_key_signals_its_project_and_is_audited(stores: Stores, project: ProjectRow) -> None:
    seen = await changes.last_id(stores.main)

    row = await add_api_key(stores, StillClock(), ACTOR, project.id, provider="openai", key=TWO)
    await update_api_key(stores, StillClock(), ACTOR, project.id, row.id, weight=0)
    await remove_api_key(stores, StillClock(), ACTOR, project.id, row.id)

    assert [(c.kind, c.key) for c in await changes.after(stores.main, seen, 10)] == [("project", project.id)] * 3
    told = await audit.list_page(stores.main, AuditFilter(object_kind="api_key"), limit=10)
    assert [row.action for row in told] == ["api_key.delete", "api_key.update", "api_key.create"]
    assert (told[1].before, told[1].after) == ('{"weight":1}', '{"weight":0}')
    assert all(TWO.reveal() not in f"{row.before}{row.after}" for row in told)


async def test_a_key_is_only_found_in_its_own_project(stores: Stores, project: ProjectRow) -> None:
    other = await create_project(stores, StillClock(), ACTOR, name="other", api_key=None)
    [key] = await keys(stores, project)

    with pytest.raises(NotFound):
        await remove_api_key(stores, StillClock(), ACTOR, other.id, key.id)
    with pytest.raises(NotFound):
        await update_api_key(stores, StillClock(), ACTOR, other.id, key.id, weight=2)

    assert await keys(stores, project) == [key]


@pytest.mark.parametrize("weight", [-1, 1001])
async def test_weights_have_their_bounds(stores: Stores, project: ProjectRow, weight: int) -> None:
    with pytest.raises(Invalid):
        await add_api_key(stores, StillClock(), ACTOR, project.id, provider="openai", key=TWO, weight=weight)
