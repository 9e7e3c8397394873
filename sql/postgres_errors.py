"""What psycopg raises, as StoreErrors with a line that says what to do."""

from typing import Final

import psycopg
from msgspec import Struct
from psycopg import errors

from sql.errors import BrokenReference, Conflict, SchemaMismatch, StoreError, StoreFull, StoreUnavailable, Unstorable

_AGAIN: Final = (OSError, errors.OperationalError, errors.InterfaceError, errors.InternalError)
_MISSING: Final = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction)


class Failure(Struct, frozen=True):
    error: StoreError
    is_of_this_server: bool
    """Another connection may lead to a better one: after a failover the old primary is read-only."""


def of_connecting(error: Exception) -> StoreUnavailable:
    if isinstance(error, TimeoutError):
        return StoreUnavailable("PostgreSQL cannot be reached (no answer in time); check DATABASE_URL and the network")
    if isinstance(error, psycopg.OperationalError):
        reason = " ".join(str(error).split())
        return StoreUnavailable(f"PostgreSQL cannot be reached ({reason}); check DATABASE_URL")
    return StoreUnavailable("PostgreSQL cannot be reached; check DATABASE_URL")


def translated(error: Exception, name: str) -> Failure:
    """`name` is the statement's. The result holds no value of a row."""
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return Failure(StoreUnavailable("PostgreSQL is read-only (a replica?); check DATABASE_URL"), True)
    if isinstance(error, errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow):
        return Failure(StoreUnavailable("PostgreSQL is stopping or starting; try again"), True)
    return Failure(_of_statement(error, name), False)


def _of_statement(error: Exception, name: str) -> StoreError:
    if isinstance(error, errors.UniqueViolation):
        return Conflict(_field(error))
    if isinstance(error, errors.ForeignKeyViolation):
        return BrokenReference("the row names another one that does not exist")
    if isinstance(error, _MISSING):
        return SchemaMismatch(f"{name} does not fit the schema of the database; run `llm-proxy migrate up`")
    if isinstance(error, errors.DataError | UnicodeError):
        return Unstorable("a value does not fit its column")
    if isinstance(error, errors.DiskFull):
        return StoreFull("PostgreSQL has no room left on its disk; free some")
    if isinstance(error, errors.QueryCanceled):
        return StoreUnavailable(f"PostgreSQL gave up {name}: it took too long; try again")
    if isinstance(error, _AGAIN):
        return StoreUnavailable(f"PostgreSQL did not finish {name} ({_state(error)}); try again")
    return StoreError(f"{name} was refused by PostgreSQL ({_state(error)})")


def _field(error: errors.UniqueViolation) -> str:
    """The column out of a constraint's name, `<table>_<column>_key`: the words around it are the server's language."""
    constraint, table = error.diag.constraint_name or "", error.diag.table_name or ""
    if constraint.endswith("_pkey"):
        return "id"
    return constraint.removeprefix(f"{table}_").removesuffix("_key") or "value"


def _state(error: Exception) -> str:
    return getattr(error, "sqlstate", None) or type(error).__name__
