"""The embedded log's file: its tables, and how it is opened, checked and locked.

`<path>.lock` carries an exclusive flock: whoever holds it is the keeper. The file itself is opened by one connection
of one process, in locking_mode=EXCLUSIVE, so nothing else can ever write beside it. That is also why no version of
SQLite is asked for: the WAL-reset race that 3.51.3 mended (Debian 12 has 3.40.1) needs a second connection.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from bus.errors import BusError, BusUnavailable

T = TypeVar("T")

APPLICATION_ID: Final = 0x4C4C4D50  # "LLMP" in the file's header: tells our log from any other SQLite file
VERSION: Final = 3

_PAGE_BYTES: Final = 16_384

# synchronous=FULL: in WAL mode NORMAL may roll back committed transactions at power loss.
# auto_vacuum must be set before the first table; it lets trim give pages back to the file system.
_PRAGMAS: Final = (
    f"PRAGMA page_size={_PAGE_BYTES}",  # seven events of 2 KB a page; at 4096 a page holds but one of them
    "PRAGMA auto_vacuum=INCREMENTAL",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA cache_size=-4096",  # KiB; what is appended is read at once, and a backlog in order
    "PRAGMA temp_store=MEMORY",
)

_TABLES: Final = """
CREATE TABLE log (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_seq INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
INSERT INTO log (id, last_seq, entries, bytes) VALUES (1, 0, 0, 0);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    payload BLOB NOT NULL
);

CREATE TABLE producers (
    spool BLOB PRIMARY KEY,
    epoch INTEGER NOT NULL,
    high_water INTEGER NOT NULL
) WITHOUT ROWID;

-- Which part of which spool lies where: one row per append. Answers `delivered_through` without a look at the events.
CREATE TABLE spans (
    spool BLOB NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    first_spool_seq INTEGER NOT NULL,
    PRIMARY KEY (spool, first_seq)
) WITHOUT ROWID;

CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    next_seq INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    dead INTEGER NOT NULL
) WITHOUT ROWID;

-- is_out: a consumer works on it since `at_ms`; otherwise it was given back and is due at `at_ms`.
-- unsettled: hand-outs since a consumer last said anything about it.
CREATE TABLE leases (
    grp TEXT NOT NULL,
    seq INTEGER NOT NULL,
    consumer TEXT NOT NULL,
    is_out INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    PRIMARY KEY (grp, seq)
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    grp TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    appended_at_ms INTEGER NOT NULL,
    dead_at_ms INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (grp, seq)
);
"""

_UPGRADES: Final = {
    # returned: events ever given back, whose entries have seqs below 0 (see sqlite_letters.next_returned)
    # earlier: entries that were gone before the group was made.
    1: """
ALTER TABLE log ADD COLUMN returned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN earlier INTEGER NOT NULL DEFAULT 0;
UPDATE groups SET earlier = next_seq - 1 - delivered - dead - (SELECT COUNT(*) FROM leases WHERE grp = name);
CREATE INDEX dead_letters_newest ON dead_letters (grp, dead_at_ms, seq);
""",
    # lot, number: where in which parking lot an event lay that was given back.
    2: """
ALTER TABLE groups ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN lot BLOB;
ALTER TABLE events ADD COLUMN number INTEGER;
CREATE INDEX events_of_lots ON events (lot, number) WHERE lot IS NOT NULL;
CREATE TABLE lots (
    grp TEXT NOT NULL,
    lot BLOB NOT NULL,
    counted INTEGER NOT NULL,
    returned INTEGER NOT NULL,
    PRIMARY KEY (grp, lot)
) WITHOUT ROWID;
""",
}
"""What makes the format of the next number out of this one."""


def lock(path: Path) -> int:
    """The descriptor that holds the lock for as long as it is open. Raises BusError when another keeper runs."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BusError(f"{lock_path} cannot be opened ({error.strerror}); make the folder writable") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise BusError(f"another keeper (process {holder}) has {path} open; stop it first") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def connect(path: Path) -> sqlite3.Connection:
    """Opens or creates the log. Raises BusError when the file is damaged, foreign or newer than this program."""
    try:
        path.touch(mode=0o600)  # the WAL takes its mode from the file: both hold what people said
        connection = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=True)
    except OSError as error:
        raise BusError(f"{path} cannot be opened ({error.strerror}); make the file and its folder writable") from error
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    except BusError:
        connection.close()
        raise
    return connection


def whole(on: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """`work` as one transaction: all of it, or nothing and its error."""
    on.execute("BEGIN IMMEDIATE")
    try:
        result = work(on)
        on.execute("COMMIT")
    except BaseException:
        if on.in_transaction:
            on.execute("ROLLBACK")
        raise
    return result


def bound_wal(on: sqlite3.Connection, nbytes: int) -> None:
    """The write-ahead log is folded into the file when it is so large."""
    on.execute(f"PRAGMA wal_autocheckpoint={max(1, nbytes // _PAGE_BYTES)}").fetchall()
    on.execute(f"PRAGMA journal_size_limit={nbytes}").fetchall()


def shorten_wal(on: sqlite3.Connection) -> None:
    """Moves what the write-ahead log holds into the file, as far as there is room, and gives its room back."""
    with contextlib.suppress(sqlite3.OperationalError):
        on.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def no_room(path: Path) -> BusUnavailable:
    return BusUnavailable(f"the disk under {path} is full; free some space, the event log goes on by itself")


def translate(error: sqlite3.Error, path: Path) -> BusError:
    """SQLite's error as ours: BusUnavailable where waiting or the operator can heal it, else BusError."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary == sqlite3.SQLITE_FULL:
        return no_room(path)
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return BusUnavailable(f"{path} cannot be written ({error}); make the file and its folder writable")
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return BusError(f"{path} is damaged or no event log ({error}); move it away, what is spooled comes again")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusError(f"{path} is open in another program; close it, the keeper must be the only one")
    return BusUnavailable(f"{path}: {error}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """The order matters: exclusive before the first read, and whose file it is before any pragma writes to it."""
    connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
    application, version = _header(connection)
    is_new = application == 0 and version == 0 and not _has_tables(connection)
    if not is_new and application != APPLICATION_ID:
        raise BusError(f"{path} is a database of another program; choose another DATA_DIR or move it away")
    if version > VERSION:
        raise BusError(f"{path} was written by a newer llm-proxy (format {version}); start that one")
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()
    if is_new:
        header = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version=1;"
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {header} COMMIT;")
    for older in range(version or 1, VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {_UPGRADES[older]} PRAGMA user_version={older + 1}; COMMIT;")


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None
