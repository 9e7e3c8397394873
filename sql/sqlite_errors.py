"""What sqlite3 raises, as StoreErrors with a line that says what to do."""

import re
import sqlite3
from pathlib import Path
from typing import Final

from sql.errors import BrokenReference, Conflict, SchemaMismatch, StoreError, StoreFull, StoreUnavailable, Unstorable

_CONFLICT = re.compile(r"failed: \w+\.(\w+)")
_MAKE_WRITABLE = "make its folder writable for this user, or move DATA_DIR"
_FAILURES: Final[dict[int, tuple[type[StoreError], str]]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailable, "locked by another process for too long; try again"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailable, "locked for too long; try again"),
    sqlite3.SQLITE_INTERRUPT: (StoreUnavailable, "took too long and was interrupted; try again"),
    sqlite3.SQLITE_FULL: (StoreFull, "no room left on the disk; free some"),
    sqlite3.SQLITE_READONLY: (StoreFull, f"cannot be written; {_MAKE_WRITABLE}"),
    sqlite3.SQLITE_CANTOPEN: (StoreFull, f"cannot be opened; {_MAKE_WRITABLE}"),
    sqlite3.SQLITE_PERM: (StoreFull, f"may not be opened; {_MAKE_WRITABLE}"),
    sqlite3.SQLITE_IOERR: (StoreUnavailable, "the disk failed to read or write; look at the system's log"),
    sqlite3.SQLITE_CORRUPT: (StoreUnavailable, "is damaged; restore it from a backup"),
    sqlite3.SQLITE_NOTADB: (StoreUnavailable, "is no SQLite database; restore it from a backup or move it away"),
    sqlite3.SQLITE_TOOBIG: (Unstorable, "a value is too big"),
}


def translated(error: Exception, path: Path) -> StoreError:
    """The StoreError for what the driver raised. Holds no value of a row."""
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{path}: no answer in time; try again")
    if isinstance(error, OSError):
        return StoreFull(f"{path}: cannot be opened ({error.strerror}); {_MAKE_WRITABLE}")
    if isinstance(error, sqlite3.NotSupportedError):
        return StoreUnavailable(str(error))
    if not isinstance(error, sqlite3.Error):
        return Unstorable("a value does not fit its column")
    return _of_sqlite(error, path)


def _of_sqlite(error: sqlite3.Error, path: Path) -> StoreError:
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code, text = extended & 0xFF, str(error)
    if extended in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY):
        named = _CONFLICT.search(text)
        return Conflict(named[1] if named else "value")
    if extended == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return BrokenReference("the row names another one that does not exist")
    if text.startswith(("no such table", "no such column")) or "has no column named" in text:
        return SchemaMismatch(f"{path}: {text}; run `llm-proxy migrate up`")
    kind, advice = _FAILURES.get(code, (StoreError, f"a statement was refused (SQLite error {extended})"))
    return kind(f"{path}: {advice}")
