"""Changes on both databases: a reader that remembers the last id misses none."""

import asyncio

from config.settings import Settings
from sql.repositories import changes
from sql.rows import ChangeRow
from sql.stores import Stores, open_stores
from tests.support.rows import NOW_MS


async def test_changes_are_read_from_where_one_was(stores: Stores) -> None:
    assert await changes.last_id(stores.main) == 0
    await changes.append(stores.main, "token", "a", NOW_MS)
    await changes.append_many(stores.main, "token", ["b", "c"], NOW_MS)
    await changes.append_many(stores.main, "token", [], NOW_MS)

    first, *rest = await changes.after(stores.main, 0, 10)

    assert [row.key for row in (first, *rest)] == ["a", "b", "c"]
    assert await changes.after(stores.main, first.id, 1) == [rest[0]]
    assert await changes.last_id(stores.main) == rest[-1].id
    assert await changes.after(stores.main, rest[-1].id, 10) == []


async def test_a_change_that_is_rolled_back_is_never_seen(stores: Stores) -> None:
    try:
        async with stores.main.transaction() as transaction:
            await changes.append(transaction, "token", "lost", NOW_MS)
            raise KeyError
    except KeyError:
        pass

    assert await changes.after(stores.main, 0, 10) == []


async def test_a_reader_misses_nothing_while_many_write(stores: Stores, store_settings: Settings) -> None:
    other = open_stores(store_settings)
    seen: list[ChangeRow] = []

    async def write(n: int) -> None:
        async with (stores, other)[n % 2].main.transaction() as transaction:
            await changes.append(transaction, "token", str(n), NOW_MS)
            await asyncio.sleep(0.001 * (n % 3))  # others draw their ids before this one commits

    async def read() -> None:
        while len(seen) < 40:
            seen.extend(await changes.after(stores.main, seen[-1].id if seen else 0, 100))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(read(), name="reader")
        for n in range(40):
            group.create_task(write(n), name=f"writer {n}")
    await other.close()

    assert sorted(int(row.key) for row in seen) == list(range(40))


async def test_pruning_keeps_the_ids_growing(stores: Stores) -> None:
    await changes.append(stores.main, "token", "old", NOW_MS)
    last = await changes.last_id(stores.main)

    assert await changes.prune(stores.main, NOW_MS + changes.KEPT_S * 1000) == 0
    assert await changes.prune(stores.main, NOW_MS + changes.KEPT_S * 1000 + 1) == 1
    await changes.append(stores.main, "project", "new", NOW_MS + 2)

    (row,) = await changes.after(stores.main, last, 10)
    assert (row.kind, row.key) == ("project", "new")
