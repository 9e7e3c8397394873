"""SQLite as a Database: one connection that writes, a few that read, each on a thread of aiosqlite's.

WAL lets them work at once, also beside other processes. Nothing is opened before the first call, and a connection
that failed is replaced by the next call, so a folder that comes back is simply used again.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from sql.database import Params, Row
from sql.errors import StoreError, StoreUnavailable
from sql.links import Link, LinkedDatabase
from sql.repeated import pieces
from sql.signals import Bell
from sql.sqlite_errors import translated
from sql.statements import Statement

T = TypeVar("T")
_READERS: Final = 3  # each is a thread and a page cache; lookups and pages seldom need more at once
_CHUNK_ROWS: Final = 256
_BUSY_SHARE: Final = 0.8  # SQLite stops waiting for a lock before we stop waiting for SQLite, and says what it was
# Processes that turn a new file to WAL at the same moment may trip over each other's journal (IOERR_DELETE_NOENT).
_PASSING: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR)
_INTERRUPT_EVERY_S: Final = 0.02
_OLDEST: Final = (3, 38)  # RETURNING is of 3.35, ->> of 3.38


class SqliteDatabase(LinkedDatabase):
    dialect = "sqlite"

    def __init__(self, path: Path, *, timeout_ms: int, readers: int = _READERS) -> None:
        self.path = path
        self._timeout_ms = timeout_ms
        self._write_seat = asyncio.Semaphore(1)
        self._read_seats = asyncio.Semaphore(readers)
        self._writer: list[_SqliteLink] = []
        self._readers: list[_SqliteLink] = []
        self._farewells: set[asyncio.Future[Any]] = set()

    @asynccontextmanager
    async def lend(self, *, writes: bool, timeout_ms: int | None = None) -> AsyncIterator[Link]:
        seats, idle = (self._write_seat, self._writer) if writes else (self._read_seats, self._readers)
        timeout_s = (timeout_ms or self._timeout_ms) / 1000
        await self._sit_down(seats, timeout_s)
        link = None
        try:
            link = idle.pop() if idle else await self._open(read_only=not writes)
            link.timeout_s = timeout_s
            yield link
        finally:
            if link is not None and link.is_open:
                idle.append(link)
            seats.release()

    async def listen(self, bell: Bell) -> None:
        """Nobody tells of changes here."""

    async def close(self) -> None:
        for link in [*self._writer, *self._readers]:
            link.give_away()
        self._writer.clear()
        self._readers.clear()
        await asyncio.gather(*self._farewells, return_exceptions=True)

    async def _sit_down(self, seats: asyncio.Semaphore, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await seats.acquire()
        except TimeoutError:
            raise StoreUnavailable(f"{self.path.name}: still busy after {timeout_s:g} s; try again") from None

    async def _open(self, *, read_only: bool) -> "_SqliteLink":
        connection = _Connection(lambda: _connect(self.path, self._timeout_ms, read_only), self._farewells)
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                await connection
        except (sqlite3.Error, OSError) as error:  # TimeoutError is an OSError
            raise translated(error, self.path) from error
        return _SqliteLink(connection, self.path)


class _Connection(aiosqlite.Connection):
    """Whose end can be waited for, also when it was given up while it was being opened."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], farewells: set[asyncio.Future[Any]]) -> None:
        super().__init__(connector, _CHUNK_ROWS)
        self._thread.daemon = True  # a process that forgot to close must still be able to end
        self._farewells = farewells

    async def insert_rows(self, text: str, rows: Sequence[Params]) -> list[Row]:
        """In one go on the connection's thread."""
        inserted: list[Row] = await self._execute(self._inserted, text, rows)  # type: ignore[no-untyped-call]
        return inserted

    def _inserted(self, text: str, rows: Sequence[Params]) -> list[Row]:
        return [row for piece, values in pieces(text, rows) for row in self._conn.execute(piece, values).fetchall()]

    def stop(self) -> asyncio.Future[Any] | None:
        """Closes on the connection's own thread, after what runs there."""
        farewell = super().stop()
        if farewell is not None:
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)
        return farewell

    def abort(self) -> None:
        """Interrupts what runs, and closes. Again and again: a statement that has not begun yet is not interrupted."""
        farewell = self.stop()
        if farewell is not None:
            self._interrupt_until(farewell)

    def _interrupt_until(self, farewell: asyncio.Future[Any]) -> None:
        if farewell.done():
            return
        with contextlib.suppress(ValueError, sqlite3.ProgrammingError):  # closed this very moment
            self._conn.interrupt()
        farewell.get_loop().call_later(_INTERRUPT_EVERY_S, self._interrupt_until, farewell)


class _SqliteLink:
    def __init__(self, connection: _Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.timeout_s = 0.0
        self.is_open = True

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]:
        rows = await self._answer(lambda: self._connection.execute_fetchall(statement.sqlite, params))
        return list(rows)  # type: ignore[arg-type]

    async def execute(self, statement: Statement, params: Params) -> int:
        return await self._run(statement.sqlite, params)

    async def execute_many(self, statement: Statement, params: Sequence[Params]) -> None:
        await self._answer(lambda: self._connection.executemany(statement.sqlite, params))

    async def insert_rows(self, statement: Statement, rows: Sequence[Params]) -> list[Row]:
        return await self._answer(lambda: self._connection.insert_rows(statement.sqlite, rows))

    async def begin(self) -> None:
        await self._run("BEGIN IMMEDIATE", {})

    async def commit(self) -> None:
        await self._run("COMMIT", {})

    async def roll_back(self) -> None:
        if self.is_open and self._connection.in_transaction:
            try:
                await self._run("ROLLBACK", {})
            except StoreError:
                self.give_away()

    def give_away(self) -> None:
        if self.is_open:
            self.is_open = False
            self._connection.abort()

    async def _run(self, text: str, params: Params) -> int:
        cursor = await self._answer(lambda: self._connection.execute(text, params))
        return cursor.rowcount

    async def _answer(self, call: Callable[[], Awaitable[T]]) -> T:
        if not self.is_open:
            raise StoreUnavailable(f"{self._path.name}: the transaction has been given up")
        try:
            async with asyncio.timeout(self.timeout_s):
                return await call()
        except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
            failure = translated(error, self._path)
            if isinstance(failure, StoreUnavailable):
                self.give_away()
            raise failure from None  # the driver's own text may hold values of the row
        except asyncio.CancelledError:
            self.give_away()
            raise


def _connect(path: Path, timeout_ms: int, read_only: bool) -> sqlite3.Connection:
    """Runs on the connection's own thread, so it may sleep."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise sqlite3.NotSupportedError(f"SQLite {sqlite3.sqlite_version} is too old; 3.38 or newer is needed")
    path.parent.mkdir(parents=True, exist_ok=True)
    _make(path)
    until = time.monotonic() + timeout_ms / 1000 * _BUSY_SHARE
    while True:
        try:
            return _prepared(path, timeout_ms, read_only)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _PASSING or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _make(path: Path) -> None:
    """An empty file that only we may read: SQLite's side files take their mode from it.

    One that is there is not opened: closing it would let go of all locks that this process has on it (POSIX), and
    whoever closes the file last elsewhere would then take the write-ahead log away under our connections.
    """
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _prepared(path: Path, timeout_ms: int, read_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = _as_dict
        connection.execute(f"PRAGMA busy_timeout = {int(timeout_ms * _BUSY_SHARE)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Row:
    return dict(zip([column[0] for column in cursor.description], row, strict=True))
