"""What both databases promise of a transaction, and of a caller that leaves."""

import asyncio

import msgspec
import pytest

from config.settings import Settings
from sql.errors import Conflict, StoreError, Unstorable
from sql.repositories import projects, tokens
from sql.statements import compile_statement
from sql.stores import Stores, open_stores
from tests.support import rows

COUNT = compile_statement("count", "SELECT COUNT(*) AS n FROM projects")
# A statement that takes much longer than any time limit here, without any other work of ours.
SLOW = compile_statement(
    "slow",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT MAX(i) AS i FROM n",
)


async def _count(stores: Stores) -> int:
    row = await stores.main.fetch_one(COUNT, {})
    assert row
    return int(row["n"])


async def test_an_error_undoes_everything(stores: Stores) -> None:
    with pytest.raises(KeyError):
        async with stores.main.transaction() as transaction:
            await projects.create(transaction, rows.project())
            raise KeyError

    assert await _count(stores) == 0


async def test_a_transaction_sees_its_own_rows_and_others_do_not(stores: Stores) -> None:
    row = rows.project()
    async with stores.main.transaction() as transaction:
        await projects.create(transaction, row)

        assert await projects.get(transaction, row.id) == row
        assert await projects.get(stores.main, row.id) is None

    assert await projects.get(stores.main, row.id) == row


async def test_an_inner_transaction_joins_the_outer_one(stores: Stores) -> None:
    with pytest.raises(KeyError):
        async with stores.main.transaction() as outer:
            async with outer.transaction() as inner:
                await projects.create(inner, rows.project())
            raise KeyError

    assert await _count(stores) == 0


async def test_a_swallowed_error_does_not_commit_the_half(stores: Stores) -> None:
    with pytest.raises(StoreError, match="nothing of it was kept"):
        async with stores.main.transaction() as transaction:
            await projects.create(transaction, rows.project(name="one"))
            with pytest.raises(Conflict):
                await projects.create(transaction, rows.project(name="one"))

    assert await _count(stores) == 0


async def test_many_rows_are_all_written_or_none(stores: Stores) -> None:
    insert = compile_statement("insert", "INSERT INTO changes (kind, key, at_ms) VALUES (:kind, :key, :at_ms)")

    with pytest.raises(StoreError):
        await stores.main.execute_many(
            insert, [{"kind": "token", "key": "a", "at_ms": 1}, {"kind": None, "key": "b", "at_ms": 2}]
        )

    assert await stores.main.fetch_all(compile_statement("look", "SELECT id FROM changes"), {}) == []


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**40, "\ud800"])
async def test_a_value_that_does_not_fit_is_told_and_changes_nothing(stores: Stores, value: object) -> None:
    row = rows.project(**({"name": value} if isinstance(value, str) else {"created_at_ms": value}))

    with pytest.raises(Unstorable):
        await projects.create(stores.main, row)

    assert await _count(stores) == 0


async def test_a_statement_that_takes_too_long_ends_in_time_and_others_go_on(store_settings: Settings) -> None:
    stores = open_stores(msgspec.structs.replace(store_settings, database_timeout_ms=400))
    started = asyncio.get_running_loop().time()

    with pytest.raises(StoreError, match="try again"):
        await stores.main.fetch_one(SLOW, {})
    assert asyncio.get_running_loop().time() - started < 2
    await stores.main.ping()
    await stores.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 20])
async def test_a_caller_that_leaves_undoes_its_transaction_and_blocks_nobody(stores: Stores, turns: int) -> None:
    entered = asyncio.Event()

    async def act() -> None:
        async with stores.main.transaction() as transaction:
            await projects.create(transaction, rows.project())
            entered.set()
            await transaction.fetch_one(SLOW, {})

    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(act(), name="caller")
        await entered.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()

    async with asyncio.timeout(60):
        await projects.create(stores.main, rows.project())
    assert await _count(stores) == 1


async def test_callers_that_leave_at_any_moment_never_break_the_database(stores: Stores) -> None:
    project = rows.project()
    await projects.create(stores.main, project)
    token = rows.token(project.id)
    await tokens.create(stores.main, token)

    for turns in range(30):
        async with asyncio.TaskGroup() as group:
            call = group.create_task(tokens.admit(stores.main, token.id, 1), name=f"admit {turns}")
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()

    assert await tokens.admit(stores.main, token.id, 1)
    found = await tokens.get(stores.main, token.id)
    assert found is not None
    assert 1 <= found.request_count <= 31


async def test_nothing_is_opened_before_the_first_call(store_settings: Settings) -> None:
    stores = open_stores(store_settings)

    await stores.close()
    await stores.main.ping()
    await stores.close()
