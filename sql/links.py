"""What SQLite and PostgreSQL have in common: verbs on a borrowed connection (a link), and transactions over one.

A link whose call timed out or was cancelled is closed at once, which undoes its transaction; nothing is awaited
while being cancelled. Drivers give `lend` and a Link, everything else is here.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Protocol

from sql.database import Connection, Params, Row
from sql.errors import StoreError
from sql.statements import Statement, compile_statement
from sql.values import clean

_PING = compile_statement("ping", "SELECT 1 AS one")


class Link(Protocol):
    """An open connection. Every verb stands under a deadline and raises StoreErrors only."""

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]: ...

    async def execute(self, statement: Statement, params: Params) -> int: ...

    async def execute_many(self, statement: Statement, params: Sequence[Params]) -> None: ...

    async def insert_rows(self, statement: Statement, rows: Sequence[Params]) -> list[Row]: ...

    async def begin(self) -> None: ...

    async def commit(self) -> None: ...

    async def roll_back(self) -> None:
        """Never raises; closes the link when the database does not answer."""
        ...

    def give_away(self) -> None:
        """Closes without waiting; an open transaction is undone."""
        ...


class LinkedDatabase(ABC):
    dialect: str

    @abstractmethod
    def lend(self, *, writes: bool, timeout_ms: int | None = None) -> AbstractAsyncContextManager[Link]:
        """A link for one caller. `timeout_ms` replaces the setting for the calls on it."""

    async def fetch_one(self, statement: Statement, params: Params) -> Row | None:
        rows = await self.fetch_all(statement, params)
        return rows[0] if rows else None

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]:
        async with self.lend(writes=statement.writes) as link:
            return await link.fetch_all(statement.given(params), clean(params))

    async def execute(self, statement: Statement, params: Params) -> int:
        async with self.lend(writes=True) as link:
            return await link.execute(statement.given(params), clean(params))

    async def execute_many(self, statement: Statement, params: Sequence[Params]) -> None:
        async with self.transaction() as on:
            await on.execute_many(statement, params)

    async def insert_rows(self, statement: Statement, rows: Sequence[Params]) -> list[Row]:
        async with self.transaction() as on:
            return await on.insert_rows(statement, rows)

    @asynccontextmanager
    async def transaction(self, *, timeout_ms: int | None = None) -> AsyncIterator[Connection]:
        async with self.lend(writes=True, timeout_ms=timeout_ms) as link:
            transaction = Transaction(self.dialect, link)
            try:
                await link.begin()
                yield transaction
                transaction.check()
                await link.commit()
            except Exception:
                await link.roll_back()
                raise
            except BaseException:
                link.give_away()
                raise

    async def ping(self) -> None:
        await self.fetch_one(_PING, {})


class Transaction:
    """The verbs between BEGIN and COMMIT. After a failed statement there is only the way back."""

    def __init__(self, dialect: str, link: Link) -> None:
        self.dialect = dialect
        self._link = link
        self._is_spoilt = False

    async def fetch_one(self, statement: Statement, params: Params) -> Row | None:
        rows = await self.fetch_all(statement, params)
        return rows[0] if rows else None

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]:
        with self._spoiling():
            return await self._link.fetch_all(statement.given(params), clean(params))

    async def execute(self, statement: Statement, params: Params) -> int:
        with self._spoiling():
            return await self._link.execute(statement.given(params), clean(params))

    async def execute_many(self, statement: Statement, params: Sequence[Params]) -> None:
        with self._spoiling():
            await self._link.execute_many(statement, [clean(each) for each in params])

    async def insert_rows(self, statement: Statement, rows: Sequence[Params]) -> list[Row]:
        with self._spoiling():
            return await self._link.insert_rows(statement, [clean(each) for each in rows])

    @asynccontextmanager
    async def transaction(self, *, timeout_ms: int | None = None) -> AsyncIterator[Connection]:
        yield self

    def check(self) -> None:
        """PostgreSQL would quietly roll back at COMMIT, SQLite would keep the half: neither is what was asked for."""
        if self._is_spoilt:
            raise StoreError("a statement of this transaction failed: nothing of it was kept")

    @contextmanager
    def _spoiling(self) -> Iterator[None]:
        self.check()
        try:
            yield
        except StoreError:
            self._is_spoilt = True
            raise
