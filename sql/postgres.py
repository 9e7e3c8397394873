"""PostgreSQL as a Database: a small pool of psycopg connections that opens on demand and never waits for a dead server.

Why not psycopg_pool: it reconnects behind one's back with growing pauses, so callers wait out their whole time limit
while the server is away, and some seconds more when it is back. Here a refused connection is told at once.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import msgspec
import psycopg
import psycopg.conninfo
from psycopg.rows import DictRow, dict_row

from config.secret import Secret
from sql.database import Params, Row
from sql.errors import StoreError, StoreUnavailable
from sql.links import Link, LinkedDatabase
from sql.postgres_connection import PostgresConnection
from sql.postgres_errors import of_connecting, translated
from sql.postgres_signals import listen
from sql.signals import Bell
from sql.statements import Statement

T = TypeVar("T")
_SERVER_SHARE: Final = 0.9  # the server gives up a little sooner than we do, so that the connection stays usable
_LONGEST_LIFE_S: Final = 1800.0  # then a connection is replaced: behind a name may stand another server by now
_REST_S: Final = 0.2  # after a failed attempt others are refused for so long, instead of all of them trying


class PostgresDatabase(LinkedDatabase):
    dialect = "postgres"

    def __init__(self, url: Secret, *, pool_size: int, timeout_ms: int) -> None:
        self._url = url
        self._pool_size = pool_size
        self._timeout_ms = timeout_ms
        self._seats = asyncio.Semaphore(pool_size)
        self._idle: list[_PostgresLink] = []
        self._resting: tuple[float, StoreUnavailable] | None = None

    @asynccontextmanager
    async def lend(self, *, writes: bool, timeout_ms: int | None = None) -> AsyncIterator[Link]:
        deadline = _now() + self._timeout_ms / 1000
        await self._sit_down(deadline)
        link = None
        try:
            link = self._newest_idle() or await self._connect(deadline)
            link.timeout_ms, link.usual_timeout_ms = timeout_ms or self._timeout_ms, self._timeout_ms
            yield link
        finally:
            self._give_back(link)
            self._seats.release()

    async def listen(self, bell: Bell) -> None:
        await listen(self._url, bell)

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().give_away()

    async def _sit_down(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._seats.acquire()
        except TimeoutError:
            message = (
                f"all {self._pool_size} connections to PostgreSQL are busy; try again, or raise DATABASE_POOL_SIZE"
            )
            raise StoreUnavailable(message) from None

    def _newest_idle(self) -> "_PostgresLink | None":
        while self._idle:
            link = self._idle.pop()
            if link.is_fresh():
                return link
            link.give_away()
        return None

    def _give_back(self, link: "_PostgresLink | None") -> None:
        if link is None:
            return
        if link.is_open:
            self._idle.append(link)
        elif link.has_lost_server:  # then the idle ones most likely have too
            while self._idle:
                self._idle.pop().give_away()

    async def _connect(self, deadline: float) -> "_PostgresLink":
        if self._resting and _now() < self._resting[0]:
            raise StoreUnavailable(str(self._resting[1]))
        try:
            async with asyncio.timeout_at(deadline):
                connection = await PostgresConnection.connect(self._url.reveal(), autocommit=True, row_factory=dict_row)
        except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
            failure = of_connecting(error)
            self._resting = (_now() + _REST_S, failure)
            raise failure from None  # the driver's own text may hold parts of the URL
        self._resting = None
        link = _PostgresLink(connection)
        link.timeout_ms = self._timeout_ms
        try:
            await link.set_server_timeout(self._timeout_ms)
        except StoreError:
            link.give_away()
            raise
        return link


def is_url(url: Secret) -> bool:
    """Whether it can be read; not whether anybody answers there."""
    try:
        psycopg.conninfo.conninfo_to_dict(url.reveal())
    except psycopg.Error:
        return False
    return True


class _PostgresLink:
    def __init__(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        self._connection = connection
        self._born = _now()
        self.timeout_ms = 0
        self.usual_timeout_ms = 0
        self.is_open = True
        self.has_lost_server = False

    def is_fresh(self) -> bool:
        """Whether the server has neither hung up nor said anything while the connection was idle."""
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return _now() - self._born < _LONGEST_LIFE_S and not poll.poll(0)

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]:
        cursor = await self._run(statement.name, statement.postgres, params)
        return list(await self._answer(statement.name, cursor.fetchall()))

    async def execute(self, statement: Statement, params: Params) -> int:
        return (await self._run(statement.name, statement.postgres, params)).rowcount

    async def execute_many(self, statement: Statement, params: Sequence[Params]) -> None:
        cursor = self._connection.cursor()
        await self._answer(statement.name, cursor.executemany(statement.postgres.encode(), params))

    async def insert_rows(self, statement: Statement, rows: Sequence[Params]) -> list[Row]:
        return await self.fetch_all(statement, {"rows": msgspec.json.encode(rows).decode()})

    async def begin(self) -> None:
        await self._run("begin", "BEGIN")
        if self.timeout_ms != self.usual_timeout_ms:
            await self._run("begin", f"SET LOCAL statement_timeout = {int(self.timeout_ms * _SERVER_SHARE)}")

    async def commit(self) -> None:
        await self._run("commit", "COMMIT")

    async def roll_back(self) -> None:
        if self.is_open:
            try:
                await self._run("rollback", "ROLLBACK")
            except StoreError:
                self.give_away()

    def give_away(self) -> None:
        """Hangs up; the server undoes what was open. Only when nobody is waiting on the connection any more."""
        if self.is_open:
            self.is_open = False
            self._connection.pgconn.finish()

    async def set_server_timeout(self, timeout_ms: int) -> None:
        await self._run("set", f"SET statement_timeout = {int(timeout_ms * _SERVER_SHARE)}")

    async def _run(self, name: str, text: str, params: Params | None = None) -> psycopg.AsyncCursor[DictRow]:
        return await self._answer(name, self._connection.execute(text.encode(), params))

    async def _answer(self, name: str, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.timeout_ms / 1000):
                return await _or_cancelled(call)
        except TimeoutError:
            self._lose_server()
            raise StoreUnavailable(f"PostgreSQL did not answer {name} within {self.timeout_ms} ms; try again") from None
        except (psycopg.Error, OSError, UnicodeError) as error:
            if self._connection.closed or isinstance(error, OSError):
                self._lose_server()
            failure = translated(error, name)
            if failure.is_of_this_server:
                self._lose_server()
            raise failure.error from None  # the driver's own text may hold values of the row
        except asyncio.CancelledError:
            self.give_away()
            raise

    def _lose_server(self) -> None:
        self.has_lost_server = True
        self.give_away()


async def _or_cancelled(call: Awaitable[T]) -> T:
    """psycopg's pipelines may fail while they make way for a cancellation, and would hide it."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        return await call
    except psycopg.Error:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise


def _now() -> float:
    return asyncio.get_running_loop().time()
