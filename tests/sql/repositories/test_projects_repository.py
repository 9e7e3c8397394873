"""Projects on both databases."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.errors import Conflict
from sql.repositories import projects
from sql.stores import Stores
from tests.support import rows


async def test_a_project_is_read_as_it_was_written(stores: Stores) -> None:
    row = rows.project(name="Ärger & Söhne 💶 \"'%_\\", recording="metadata")

    await projects.create(stores.main, row)

    assert await projects.get(stores.main, row.id) == row


async def test_an_unknown_project_is_none(stores: Stores) -> None:
    assert await projects.get(stores.main, "nobody") is None


async def test_an_id_with_a_nul_finds_nothing(stores: Stores) -> None:
    assert await projects.get(stores.main, "a\0b") is None


async def test_a_taken_name_is_a_conflict_that_says_so(stores: Stores) -> None:
    await projects.create(stores.main, rows.project(name="one"))

    with pytest.raises(Conflict) as caught:
        await projects.create(stores.main, rows.project(name="one"))

    assert caught.value.field == "name"


async def test_renaming_onto_a_taken_name_changes_nothing(stores: Stores) -> None:
    await projects.create(stores.main, rows.project(name="one"))
    two = rows.project(name="two")
    await projects.create(stores.main, two)

    with pytest.raises(Conflict):
        await projects.update(stores.main, msgspec.structs.replace(two, name="one", is_active=False))

    assert await projects.get(stores.main, two.id) == two


async def test_update_changes_all_but_the_birth(stores: Stores) -> None:
    row = rows.project()
    await projects.create(stores.main, row)
    changed = msgspec.structs.replace(
        row, name="new", is_active=False, recording="off", updated_at_ms=5, deactivated_at_ms=5
    )

    assert await projects.update(stores.main, msgspec.structs.replace(changed, created_at_ms=1))

    assert await projects.get(stores.main, row.id) == changed


async def test_updating_what_is_not_there_says_no(stores: Stores) -> None:
    assert not await projects.update(stores.main, rows.project())


async def test_names_come_in_byte_order_on_both_databases(stores: Stores) -> None:
    for name in ("b", "B", "a", "é", "a b", "a-b", "ab"):
        await projects.create(stores.main, rows.project(name=name))

    listed = [row.name for row in await projects.list_page(stores.main, limit=10)]

    assert listed == ["B", "a", "a b", "a-b", "ab", "b", "é"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("alpha", ["Alpha 100%"]),
        ("100%", ["Alpha 100%"]),
        ("%", ["Alpha 100%"]),
        ("_", ["b_ta"]),
        ("\\", []),
        ("É", ["É"]),
    ],
)
async def test_search_takes_every_character_for_itself(stores: Stores, search: str, found: list[str]) -> None:
    for name in ("Alpha 100%", "b_ta", "É", "gamma"):
        await projects.create(stores.main, rows.project(name=name))

    page = await projects.list_page(stores.main, search=search, limit=10)

    assert [row.name for row in page] == found
    assert await projects.count(stores.main, search=search) == len(found)


async def test_active_and_inactive_projects_are_told_apart(stores: Stores) -> None:
    await projects.create(stores.main, rows.project(name="on"))
    await projects.create(stores.main, rows.project(name="off", is_active=False))

    assert [row.name for row in await projects.list_page(stores.main, is_active=True, limit=5)] == ["on"]
    assert [row.name for row in await projects.list_page(stores.main, is_active=False, limit=5)] == ["off"]
    assert await projects.count(stores.main, is_active=False) == 1
    assert await projects.count(stores.main) == 2


async def test_names_of_ids_leaves_out_strangers(stores: Stores) -> None:
    one, two = rows.project(name="one"), rows.project(name="two")
    await projects.create(stores.main, one)
    await projects.create(stores.main, two)

    names = await projects.names(stores.main, [one.id, two.id, one.id, "nobody", "it's"])

    assert names == {one.id: "one", two.id: "two"}
    assert await projects.names(stores.main, []) == {}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(st.text(min_size=1, max_size=6).filter(lambda name: "\0" not in name), max_size=12),
    size=st.integers(1, 5),
)
async def test_pages_together_are_the_whole_list(stores: Stores, names: set[str], size: int) -> None:
    before = {row.name for row in await projects.list_page(stores.main, limit=10_000)}
    for name in names - before:
        await projects.create(stores.main, rows.project(name=name))

    whole = await projects.list_page(stores.main, limit=10_000)
    paged, after = [], None
    while page := await projects.list_page(stores.main, after=after, limit=size):
        paged += page
        after = (page[-1].name, page[-1].id)
    by_offset = await projects.list_page(stores.main, limit=size, offset=size)

    assert paged == whole
    assert by_offset == whole[size : 2 * size]
