"""What a database can do for a repository: the same few verbs on SQLite and PostgreSQL.

Statements come from `queries/*.sql` by name and take `:name` parameters as a dict. A call waits no longer than
`database_timeout_ms` for a connection, and as long again for its answer; an unreachable database raises
`StoreUnavailable`, never a driver's own error.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sql.signals import Bell
from sql.statements import Statement

Row = Mapping[str, Any]
Params = Mapping[str, Any]


class Connection(Protocol):
    """Inside a transaction, or one statement of its own."""

    dialect: str
    """`sqlite` or `postgres`: for the migrations and the tests, never for a repository."""

    async def fetch_one(self, statement: Statement, params: Params) -> Row | None: ...

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]: ...

    async def execute(self, statement: Statement, params: Params) -> int:
        """Returns how many rows were changed."""
        ...

    async def execute_many(self, statement: Statement, params: Sequence[Params]) -> None:
        """All of them or none."""
        ...

    async def insert_rows(self, statement: Statement, rows: Sequence[Params]) -> list[Row]:
        """All of them at once, or none; what RETURNING tells of them.

        SQLite repeats the statement's VALUES; PostgreSQL's text takes a JSON array `:rows`, so bytes cannot be in it.
        """
        ...

    def transaction(self, *, timeout_ms: int | None = None) -> AbstractAsyncContextManager["Connection"]:
        """Commits on leaving, rolls back on an error; inside a transaction it joins that one.

        On SQLite it begins IMMEDIATE, so that it never fails late. A statement that failed has spoilt the whole
        transaction, on both databases. `timeout_ms` replaces `database_timeout_ms` for each statement in it.
        """
        ...


class Database(Connection, Protocol):
    """Opens lazily and again after a failure; each verb called on it directly is a transaction of its own."""

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        ...

    async def listen(self, bell: Bell) -> None:
        """Rings it at each change, until it is cancelled; returns at once where nobody tells of changes."""
        ...

    async def close(self) -> None: ...
