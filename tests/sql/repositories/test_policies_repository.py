"""The policy document on both databases: read as written, and never written over unseen."""

import asyncio

from config.settings import Settings
from sql.repositories import policies
from sql.rows import PolicyRow
from sql.stores import Stores, open_stores
from tests.support.rows import NOW_MS


def _row(version: int, document: str = "{}") -> PolicyRow:
    return PolicyRow(version=version, document=document, updated_at_ms=NOW_MS, updated_by="cli")


async def test_there_is_none_until_one_is_written(stores: Stores) -> None:
    assert await policies.read(stores.main) is None

    assert await policies.write(stores.main, _row(1, '{"limits":[{"name":"größer 💶"}]}'), 0)

    assert await policies.read(stores.main) == _row(1, '{"limits":[{"name":"größer 💶"}]}')


async def test_another_takes_its_place(stores: Stores) -> None:
    await policies.write(stores.main, _row(1), 0)

    assert await policies.write(stores.main, _row(2, '{"limits":[]}'), 1)

    assert await policies.read(stores.main) == _row(2, '{"limits":[]}')


async def test_one_that_was_not_seen_is_not_written_over(stores: Stores) -> None:
    assert not await policies.write(stores.main, _row(5), 4)
    await policies.write(stores.main, _row(1), 0)

    assert not await policies.write(stores.main, _row(1, "again"), 0)
    assert not await policies.write(stores.main, _row(3, "late"), 2)

    assert await policies.read(stores.main) == _row(1)


async def test_of_many_that_read_the_same_one_writes(stores: Stores, store_settings: Settings) -> None:
    other = open_stores(store_settings)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        writes = [
            group.create_task(policies.write((stores, other)[n % 2].main, _row(1, str(n)), 0), name=f"writer {n}")
            for n in range(6)
        ]
    await other.close()

    assert [write.result() for write in writes].count(True) == 1
