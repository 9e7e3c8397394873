"""Migrations on both databases: up, down, up again, and what is refused."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from config.secret import Secret
from config.settings import Settings
from sql import migrate
from sql.errors import SchemaMismatch, StoreError
from sql.statements import compile_statement
from sql.stores import Stores, open_stores
from tests.support.postgres import PostgresServer
from tests.support.stores import sqlite_settings

ALL = [migration.label for migration in migrate.migrations()]
SCHEMA = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name",
    "postgres": "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns"
    " WHERE table_schema = 'public' ORDER BY table_name, column_name",
}


@pytest.fixture(params=["sqlite", "postgres"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Stores over a database that has never been migrated."""
    settings = sqlite_settings(tmp_path / "data")
    server: PostgresServer | None = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        settings = _postgres_settings(server.create_database())
    stores = open_stores(settings)
    yield stores
    await stores.close()
    if server:
        server.drop_database(settings.database_url.reveal())  # type: ignore[union-attr]


def _postgres_settings(url: str) -> Settings:
    return Settings(db_driver="postgres", database_url=Secret(url))


async def _schema(stores: Stores) -> list[object]:
    statement = compile_statement("schema", SCHEMA[stores.main.dialect])
    return [await database.fetch_all(statement, {}) for database in (stores.main, stores.records)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may spoil."""
    return Path(shutil.copytree(migrate.MIGRATIONS, tmp_path / "migrations"))


async def test_up_down_up_ends_where_up_ended(empty: Stores) -> None:
    assert await migrate.up(empty) == ALL
    first = await _schema(empty)

    assert await migrate.down(empty, 0) == ALL[::-1]
    assert await migrate.up(empty) == ALL

    assert await _schema(empty) == first


async def test_down_to_nothing_leaves_no_table_of_ours(empty: Stores) -> None:
    await migrate.up(empty)

    await migrate.down(empty, 0)

    assert "projects" not in str(await _schema(empty))
    assert "requests" not in str(await _schema(empty))


async def test_down_stops_where_it_is_told(empty: Stores) -> None:
    await migrate.up(empty)

    assert await migrate.down(empty, 1) == ALL[:0:-1]

    assert [row.version for row in await migrate.status(empty) if row.applied_at_ms is not None] == [1]


async def test_up_a_second_time_does_nothing(empty: Stores) -> None:
    await migrate.up(empty)

    assert await migrate.up(empty) == []


async def test_many_processes_at_once_apply_each_migration_once(empty: Stores, tmp_path: Path) -> None:
    settings = sqlite_settings(tmp_path / "data")
    if empty.main.dialect == "postgres":
        settings = _postgres_settings(empty.main._url.reveal())  # type: ignore[attr-defined]
    others = [open_stores(settings) for _ in range(4)]

    done = await asyncio.gather(*(migrate.up(stores) for stores in (empty, *others)))

    assert sorted(name for names in done for name in names) == ALL
    for stores in others:
        await stores.close()


async def test_check_says_what_to_run(empty: Stores) -> None:
    with pytest.raises(SchemaMismatch, match=f"lacks {', '.join(ALL)}; run `llm-proxy migrate up`"):
        await migrate.check(empty)

    await migrate.up(empty)

    await migrate.check(empty)


async def test_asking_for_the_status_changes_nothing(empty: Stores) -> None:
    rows = await migrate.status(empty)

    assert [(row.version, row.applied_at_ms) for row in rows] == [(m.version, None) for m in migrate.migrations()]
    assert "schema_migrations" not in str(await _schema(empty))


async def test_an_edited_migration_is_refused(empty: Stores, folder: Path) -> None:
    await migrate.up(empty)
    script = folder / "main" / "0001_projects_and_tokens.up.sql"
    script.write_text(script.read_text() + "\n-- one more thought\n")

    with pytest.raises(SchemaMismatch, match="0001_projects_and_tokens was edited"):
        await migrate.check(empty, folder)
    with pytest.raises(SchemaMismatch, match="edited"):
        await migrate.up(empty, folder)
    with pytest.raises(SchemaMismatch, match="edited"):
        await migrate.down(empty, 0, folder)


async def test_a_database_of_a_newer_program_is_refused(empty: Stores, folder: Path) -> None:
    (folder / "main" / "9009_future.up.sql").write_text("CREATE TABLE future (id TEXT);\n")
    (folder / "main" / "9009_future.down.sql").write_text("DROP TABLE future;\n")
    await migrate.up(empty, folder)

    with pytest.raises(SchemaMismatch, match="9009_future of a newer llm-proxy"):
        await migrate.check(empty)
    with pytest.raises(SchemaMismatch, match="newer"):
        await migrate.up(empty)


async def test_a_migration_that_fails_leaves_nothing_behind(empty: Stores, folder: Path) -> None:
    broken = "CREATE TABLE half (id TEXT);\nINSERT INTO nowhere (id) VALUES ('a;b');\n"
    (folder / "main" / "9003_broken.up.sql").write_text(broken)
    (folder / "main" / "9003_broken.down.sql").write_text("DROP TABLE half;\n")

    with pytest.raises(StoreError):
        await migrate.up(empty, folder)

    assert "half" not in str(await _schema(empty))
    assert [row.version for row in await migrate.status(empty, folder) if row.applied_at_ms is None] == [9003]


async def test_a_query_before_the_first_migration_says_what_to_run(empty: Stores) -> None:
    with pytest.raises(SchemaMismatch, match="migrate up"):
        await empty.main.fetch_all(compile_statement("get", "SELECT id FROM projects"), {})


def test_two_migrations_with_one_number_are_refused(folder: Path) -> None:
    for end in ("up", "down"):
        (folder / "records" / f"0001_again.{end}.sql").write_text("SELECT 1;\n")

    with pytest.raises(ValueError, match="same number"):
        migrate.migrations(folder)


def test_every_migration_can_be_taken_back() -> None:
    for migration in migrate.migrations():
        created = {line.split()[2] for line in migration.up.splitlines() if line.startswith("CREATE TABLE")}
        dropped = {line.split()[2].rstrip(";") for line in migration.down.splitlines() if line.startswith("DROP TABLE")}
        assert created == dropped, msgspec.structs.astuple(migration)[:3]
