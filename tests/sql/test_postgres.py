"""PostgreSQL's own: a server that goes away, freezes, restarts, and a pool that is too small."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from config.secret import Secret
from sql import postgres
from sql.errors import StoreError, StoreUnavailable
from sql.postgres import PostgresDatabase
from sql.repositories import projects
from sql.statements import compile_statement
from sql.stores import Stores
from tests.support import rows
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.xdist_group("a PostgreSQL of its own")
SLEEP = compile_statement("sleep", "SELECT 1 AS one", "SELECT pg_sleep(:seconds) AS slept")


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that these tests may stop."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
async def database(own_server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    opened = PostgresDatabase(Secret(own_server.url), pool_size=4, timeout_ms=60_000)
    yield opened
    await opened.close()


@pytest.fixture
async def hasty(own_server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    """For what is to take too long."""
    opened = PostgresDatabase(Secret(own_server.url), pool_size=4, timeout_ms=1000)
    yield opened
    await opened.close()


async def _answers(database: PostgresDatabase) -> bool:
    try:
        await database.ping()
    except StoreUnavailable:
        return False
    return True


async def _sessions(server: PostgresServer) -> int:
    watcher = PostgresDatabase(Secret(server.url), pool_size=1, timeout_ms=60_000)
    count = "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
    row = await watcher.fetch_one(compile_statement("count", count), {})
    await watcher.close()
    return int(row["n"]) if row else -1


async def test_a_server_that_is_gone_is_told_at_once_and_found_again(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    await asyncio.gather(*(database.ping() for _ in range(8)))
    own_server.stop()

    started = time.monotonic()
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="check DATABASE_URL"):
            await database.ping()
    assert time.monotonic() - started < 60  # one wait of the time limit; ten would be ten times that

    own_server.start()
    await eventually_async(lambda: _answers(database))


async def test_after_a_restart_the_first_call_already_works(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    await asyncio.gather(*(database.ping() for _ in range(8)))

    own_server.stop()
    own_server.start()

    await database.ping()


@pytest.mark.slow
async def test_a_frozen_server_holds_nobody_longer_than_the_time_limit(
    own_server: PostgresServer, hasty: PostgresDatabase
) -> None:
    await asyncio.gather(*(hasty.ping() for _ in range(3)))
    own_server.freeze(is_frozen=True)
    try:
        started = time.monotonic()
        answers = await asyncio.gather(*(_answers(hasty) for _ in range(40)))
        took = time.monotonic() - started
    finally:
        own_server.freeze(is_frozen=False)

    assert answers == [False] * 40
    assert took < 30  # a limit for the seat and one for the statement; forty in a row would be more
    await eventually_async(lambda: _answers(hasty))


async def test_a_caller_of_a_frozen_server_may_leave_at_once(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    await database.ping()
    own_server.freeze(is_frozen=True)
    try:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(database.ping(), name="caller")
            for _ in range(50):
                await asyncio.sleep(0)  # until it waits for the server
            started = time.monotonic()
            call.cancel()
        took = time.monotonic() - started
    finally:
        own_server.freeze(is_frozen=False)

    assert call.cancelled()
    assert took < 30  # half of the time limit


async def test_a_pool_that_is_too_small_says_so_and_recovers(hasty: PostgresDatabase) -> None:
    async with contextlib.AsyncExitStack() as held:
        for _ in range(4):
            await held.enter_async_context(hasty.transaction())

        with pytest.raises(StoreUnavailable, match="all 4 connections to PostgreSQL are busy"):
            await hasty.ping()

    await hasty.ping()


async def test_it_never_opens_more_connections_than_it_may(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    await asyncio.gather(*(database.ping() for _ in range(50)))

    assert 1 <= await _sessions(own_server) <= 4


async def test_connections_are_closed_with_the_database(own_server: PostgresServer, database: PostgresDatabase) -> None:
    await asyncio.gather(*(database.ping() for _ in range(4)))

    await database.close()

    async def nobody_left() -> bool:
        return await _sessions(own_server) == 0

    await eventually_async(nobody_left)


async def test_the_server_itself_gives_up_a_slow_statement_and_the_connection_stays(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    limit = await database.fetch_one(compile_statement("limit", "SHOW statement_timeout"), {})
    assert limit == {"statement_timeout": "54s"}, "a little less than ours"

    async with database.lend(writes=False) as link:
        assert isinstance(link, postgres._PostgresLink)
        await link.set_server_timeout(200)
        with pytest.raises(StoreUnavailable, match="gave up sleep: it took too long"):
            await link.fetch_all(SLEEP, {"seconds": 60})

    assert await _sessions(own_server) == 1
    await database.ping()


@pytest.mark.slow
async def test_a_patient_transaction_may_take_longer_than_the_setting(hasty: PostgresDatabase) -> None:
    async with hasty.transaction(timeout_ms=60_000) as transaction:
        await transaction.fetch_one(SLEEP, {"seconds": 1.2})

    with pytest.raises(StoreUnavailable):
        await hasty.fetch_one(SLEEP, {"seconds": 1.2})


async def test_a_session_that_the_server_ends_is_replaced(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    others = "datname = 'postgres' AND pid <> pg_backend_pid()"
    kill = f"SELECT pg_terminate_backend(pid) AS done FROM pg_stat_activity WHERE {others}"
    await asyncio.gather(*(database.ping() for _ in range(4)))
    other = PostgresDatabase(Secret(own_server.url), pool_size=1, timeout_ms=60_000)

    await other.fetch_all(compile_statement("kill", kill), {})
    await other.close()

    await eventually_async(lambda: _answers(database))


async def test_a_transaction_whose_server_dies_is_not_committed(
    own_server: PostgresServer, database: PostgresDatabase
) -> None:
    make = compile_statement("make", "CREATE TABLE IF NOT EXISTS kept (id TEXT)")
    insert = compile_statement("insert", "INSERT INTO kept (id) VALUES ('a')")
    await database.execute(make, {})

    with pytest.raises(StoreUnavailable):
        async with database.transaction() as transaction:
            await transaction.execute(insert, {})
            own_server.stop()
    own_server.start()

    await eventually_async(lambda: _answers(database))
    assert await database.fetch_all(compile_statement("look", "SELECT id FROM kept"), {}) == []


async def test_a_wrong_password_or_name_is_told_without_the_password(own_server: PostgresServer) -> None:
    url = own_server.url.replace("tester@", "tester:s3cret-canary@").replace("/postgres", "/nowhere")
    database = PostgresDatabase(Secret(url), pool_size=1, timeout_ms=60_000)

    with pytest.raises(StoreUnavailable, match="nowhere") as caught:
        await database.ping()

    assert "canary" not in str(caught.value)


async def test_callers_that_leave_while_many_rows_are_written_never_break_the_pool(stores: Stores) -> None:
    insert = compile_statement("insert", "INSERT INTO changes (kind, key, at_ms) VALUES ('token', :key, 1)")
    for turns in range(0, 40, 2):
        many = [{"key": str(n)} for n in range(100)]
        async with asyncio.TaskGroup() as group:
            call = group.create_task(stores.main.execute_many(insert, many), name=f"writer {turns}")
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()

    found = await stores.main.fetch_one(compile_statement("count", "SELECT COUNT(*) AS n FROM changes"), {})
    assert found is not None
    assert found["n"] % 100 == 0
    await projects.create(stores.main, rows.project())


@pytest.mark.parametrize("leaves", [True, False], ids=["caller leaves", "time runs out"])
async def test_a_driver_that_fails_on_its_way_out_hides_neither_a_caller_that_left_nor_a_timeout(
    own_server: PostgresServer, leaves: bool
) -> None:
    database = PostgresDatabase(Secret(own_server.url), pool_size=1, timeout_ms=60_000 if leaves else 200)
    has_begun = asyncio.Event()

    async def fails_when_it_is_cancelled() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise psycopg.OperationalError("the pipeline is aborted") from None

    async def use() -> None:
        async with database.lend(writes=False) as link:
            assert isinstance(link, postgres._PostgresLink)
            await link._answer("pipeline", fails_when_it_is_cancelled())

    call = asyncio.create_task(use())
    await has_begun.wait()
    if leaves:
        call.cancel()
    with pytest.raises(asyncio.CancelledError if leaves else StoreUnavailable):
        await call
    assert call.cancelled() is leaves
    await database.close()


async def test_a_read_only_server_is_told_and_left(own_server: PostgresServer) -> None:
    """As the old primary is after a failover."""
    database = PostgresDatabase(
        Secret(own_server.url + "?options=-c%20default_transaction_read_only%3Don"), pool_size=1, timeout_ms=60_000
    )

    with pytest.raises(StoreError, match="read-only"):
        await database.execute(compile_statement("make", "CREATE TABLE never (id TEXT)"), {})

    async def nobody_left() -> bool:
        return await _sessions(own_server) == 0

    await eventually_async(nobody_left)
