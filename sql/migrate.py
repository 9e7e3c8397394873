"""The schema's history: `migrations/<set>/NNNN_words.up.sql` and `.down.sql`, each applied in one transaction.

Two sets, `main` and `records`, because on SQLite they are two files; numbers run through both, so that `down(to)` names
one point in time. A line ending in `-- only sqlite` or `-- only postgres` is for that database alone.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from sql.database import Connection, Database
from sql.errors import SchemaMismatch
from sql.statements import compile_statement, load, split_script
from sql.stores import Stores

SetName = Literal["main", "records"]
MIGRATIONS = Path(__file__).with_name("migrations")
_PATIENCE_MS: Final = 3_600_000  # building an index over millions of rows takes its time
_FILE = re.compile(r"(\d{4})_(\w+)\.up\.sql\Z")
_ONLY = re.compile(r"-- only (sqlite|postgres)[ \t]*$")
_Q = load("schema_migrations")


class Migration(Struct, frozen=True):
    set: SetName
    version: int
    name: str
    up: str
    down: str
    checksum: str
    """SHA-256 of the up script: what has been applied must not be edited afterwards."""

    @property
    def label(self) -> str:
        return f"{self.version:04}_{self.name}"


class MigrationStatus(Struct, frozen=True):
    set: SetName
    version: int
    name: str
    applied_at_ms: int | None
    """None: pending."""
    problem: str
    """Empty, or why the program and the database do not fit together here."""


class _Applied(Struct, frozen=True):
    version: int
    name: str
    checksum: str
    applied_at_ms: int


async def up(stores: Stores, folder: Path = MIGRATIONS) -> list[str]:
    """Applies what is pending and returns its names. Safe to run from several processes at once."""
    done = []
    for migration in migrations(folder):
        async with _changing(stores, migration.set) as on:
            applied = await _prepared(on, migration.set)
            _refuse_strangers(migration.set, applied, folder)
            if migration.version not in applied:
                await _apply(on, migration)
                done.append(migration.label)
    return done


async def down(stores: Stores, to: int, folder: Path = MIGRATIONS) -> list[str]:
    """Takes back every migration above `to`, newest first; 0 empties the database."""
    undone = []
    for migration in reversed(migrations(folder)):
        async with _changing(stores, migration.set) as on:
            applied = await _prepared(on, migration.set)
            _refuse_strangers(migration.set, applied, folder)
            if migration.version > to and migration.version in applied:
                await _run(on, migration.down)
                await on.execute(_Q.remove, {"set": migration.set, "version": migration.version})
                undone.append(migration.label)
    return undone


async def status(stores: Stores, folder: Path = MIGRATIONS) -> list[MigrationStatus]:
    """Every migration that this program or the database knows, in their order."""
    rows: list[MigrationStatus] = []
    for name, database in _sets(stores):
        applied = await _read(database, name)
        known = {m.version: m for m in migrations(folder) if m.set == name}
        rows += [_status(name, known.get(v), applied.get(v)) for v in known.keys() | applied.keys()]
    return sorted(rows, key=lambda row: row.version)


async def check(stores: Stores, folder: Path = MIGRATIONS) -> None:
    """Raises SchemaMismatch when the database is not exactly as this program needs it."""
    rows = await status(stores, folder)
    if problems := [row.problem for row in rows if row.problem]:
        raise SchemaMismatch(problems[0])
    if pending := [f"{row.version:04}_{row.name}" for row in rows if row.applied_at_ms is None]:
        raise SchemaMismatch(f"the database lacks {', '.join(pending)}; run `llm-proxy migrate up`")


@cache
def migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All that there are, by number."""
    found = [_load(file, name) for name in ("main", "records") for file in sorted((folder / name).glob("*.up.sql"))]
    found.sort(key=lambda migration: migration.version)
    if len({migration.version for migration in found}) < len(found):
        raise ValueError(f"{folder}: two migrations have the same number")
    return found


def _load(file: Path, name: SetName) -> Migration:
    parts = _FILE.fullmatch(file.name)
    if not parts:
        raise ValueError(f"{file}: a migration is called NNNN_words.up.sql")
    text = file.read_text(encoding="utf-8")
    checksum = hashlib.sha256(text.encode()).hexdigest()
    undo = file.with_name(file.name.replace(".up.sql", ".down.sql")).read_text(encoding="utf-8")
    return Migration(name, int(parts[1]), parts[2], text, undo, checksum)


def _sets(stores: Stores) -> Iterator[tuple[SetName, Database]]:
    yield "main", stores.main
    yield "records", stores.records


def _changing(stores: Stores, name: SetName) -> AbstractAsyncContextManager[Connection]:
    return dict(_sets(stores))[name].transaction(timeout_ms=_PATIENCE_MS)


async def _prepared(on: Connection, name: SetName) -> dict[int, _Applied]:
    """What has been applied, seen under the lock that keeps other processes from migrating."""
    await on.fetch_one(_Q.lock, {})
    await on.execute(_Q.create_table, {})
    return await _rows(on, name)


async def _read(on: Connection, name: SetName) -> dict[int, _Applied]:
    """Without touching the database: a missing table means that nothing has been applied."""
    exists = await on.fetch_one(_Q.table_exists, {})
    return await _rows(on, name) if exists else {}


async def _rows(on: Connection, name: SetName) -> dict[int, _Applied]:
    rows = await on.fetch_all(_Q.applied, {"set": name})
    return {row["version"]: _Applied(**row) for row in rows}


async def _apply(on: Connection, migration: Migration) -> None:
    await _run(on, migration.up)
    params = {"set": migration.set, "version": migration.version, "name": migration.name}
    now_ms = time.time_ns() // 1_000_000
    await on.execute(_Q.add, {**params, "checksum": migration.checksum, "applied_at_ms": now_ms})


async def _run(on: Connection, script: str) -> None:
    lines = script.splitlines()
    mine = [line for line in lines if not ((only := _ONLY.search(line)) and only[1] != on.dialect)]
    for text in split_script("\n".join(mine)):
        await on.execute(compile_statement("migration", text), {})


def _refuse_strangers(name: SetName, applied: dict[int, _Applied], folder: Path) -> None:
    known = {m.version: m for m in migrations(folder) if m.set == name}
    for version, row in sorted(applied.items()):
        if problem := _status(name, known.get(version), row).problem:
            raise SchemaMismatch(problem)


def _status(name: SetName, known: Migration | None, applied: _Applied | None) -> MigrationStatus:
    problem = ""
    if known is None and applied is not None:
        problem = f"the database has {applied.version:04}_{applied.name} of a newer llm-proxy; run that one"
    elif known and applied and known.checksum != applied.checksum:
        problem = (
            f"{known.label} was edited after it had been applied; put the file back and add a new migration instead"
        )
    row = known or applied
    assert row is not None  # noqa: S101 - a version comes from one of the two
    return MigrationStatus(name, row.version, row.name, applied.applied_at_ms if applied else None, problem)
