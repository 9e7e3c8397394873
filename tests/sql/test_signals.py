"""Signals of PostgreSQL: heard at the commit, and again after the line was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sql.database import Database
from sql.repositories import changes
from sql.signals import Bell
from sql.statements import compile_statement
from sql.stores import Stores
from tests.support.rows import NOW_MS
from tests.support.stores import TIMEOUT_MS
from tests.support.waiting import eventually_async

on_postgres = pytest.mark.parametrize("store_settings", ["postgres"], indirect=True)
CUT = compile_statement(
    "cut",
    "SELECT 1",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'",
)


@asynccontextmanager
async def listening(database: Database, bell: Bell) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.listen(bell), name="listen")
        yield
        task.cancel()


async def connected(bell: Bell) -> bool:
    return bell.is_connected


@on_postgres
async def test_it_rings_when_a_change_is_committed_and_not_before(stores: Stores) -> None:
    bell = Bell()
    async with listening(stores.main, bell):
        await eventually_async(lambda: connected(bell))
        await bell.wait(TIMEOUT_MS / 1000)  # it has rung once, for what was there before

        async with stores.main.transaction() as tx:
            await changes.append(tx, "token", "k", NOW_MS)
            rang_early = bell._rung.is_set()
        await bell.wait(TIMEOUT_MS / 1000)

    assert not rang_early
    assert [row.key for row in await changes.after(stores.main, 0, 9)] == ["k"]


@on_postgres
async def test_after_a_lost_line_it_listens_again_and_rings_for_what_it_missed(stores: Stores) -> None:
    bell = Bell()
    async with listening(stores.main, bell):
        await eventually_async(lambda: connected(bell))
        await bell.wait(TIMEOUT_MS / 1000)

        await stores.main.fetch_all(CUT, {})
        await bell.wait(TIMEOUT_MS / 1000)
        await eventually_async(lambda: connected(bell))

    assert bell.is_connected is True


async def test_sqlite_has_nobody_who_tells(sqlite_stores: Stores) -> None:
    bell = Bell()

    await sqlite_stores.main.listen(bell)  # returns

    assert not bell.is_connected


async def test_a_bell_that_rang_before_is_heard_at_once_and_only_once() -> None:
    bell = Bell()
    bell.ring()

    await bell.wait(TIMEOUT_MS / 1000)

    assert not bell._rung.is_set()
    await bell.wait(0.001)  # nobody rings: it returns all the same
