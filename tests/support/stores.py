"""Migrated databases for tests: `stores` runs a test on SQLite and on PostgreSQL, `sqlite_stores` on SQLite only."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from config.secret import Secret
from config.settings import Settings
from sql import migrate
from sql.sealing import new_key
from sql.stores import Stores, open_stores
from tests.support import real_servers
from tests.support.postgres import PostgresServer

TIMEOUT_MS = 60_000  # the machines of tests are slow at times


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that all tests of this process share: do not stop it. Fails when there is none."""
    server = PostgresServer(os.environ.get("TEST_DATABASE_URL", ""))
    real_servers.note(f"PostgreSQL {server.version()} ({server.origin})")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of an empty database that others use too; for one of your own take `postgres_database_url`."""
    return postgres_server.url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """Name of the migrated database that the others are copies of."""
    name = postgres_server.create_template()
    yield name
    postgres_server.drop_database(postgres_server.url_of(name))


@pytest.fixture(scope="session")
def used_databases(postgres_server: PostgresServer) -> Iterator[list[str]]:
    """URLs of databases that tests have given back empty: a new one takes a quarter of a second."""
    urls: list[str] = []
    yield urls
    for url in urls:
        postgres_server.drop_database(url)


@pytest.fixture
def postgres_database_url(
    postgres_server: PostgresServer, postgres_template: str, used_databases: list[str]
) -> Iterator[str]:
    """URL of a migrated, empty database of the test's own."""
    url = used_databases.pop() if used_databases else postgres_server.create_database(template=postgres_template)
    yield url
    if postgres_server.empty_database(url):
        used_databases.append(url)
    else:
        postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a database of the test's own. On PostgreSQL it is migrated already, on SQLite it is not there yet."""
    if request.param == "sqlite":
        return sqlite_settings(tmp_path)
    return Settings(
        data_dir=str(tmp_path),
        db_driver="postgres",
        database_url=Secret(request.getfixturevalue("postgres_database_url")),
        database_timeout_ms=TIMEOUT_MS,
        encryption_key=Secret(new_key()),
    )


@pytest.fixture
async def stores(store_settings: Settings) -> AsyncIterator[Stores]:
    opened = open_stores(store_settings)
    await migrate.up(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = open_stores(sqlite_settings(tmp_path))
    await migrate.up(opened)
    yield opened
    await opened.close()


def sqlite_settings(folder: Path) -> Settings:
    return Settings(data_dir=str(folder), database_timeout_ms=TIMEOUT_MS, encryption_key=Secret(new_key()))
