"""The databases of a process, as the settings say."""

from pathlib import Path

import psycopg.conninfo
from msgspec import Struct

from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from sql.database import Database
from sql.postgres import PostgresDatabase
from sql.sealing import Sealer
from sql.sqlite import SqliteDatabase


class Stores(Struct, frozen=True):
    """`records` holds requests and bodies: on SQLite a file of its own, so that recording never makes a quota wait."""

    main: Database
    records: Database
    sealer: Sealer

    async def close(self) -> None:
        await self.main.close()
        if self.records is not self.main:
            await self.records.close()


def open_stores(settings: Settings) -> Stores:
    """Connects to nothing yet: databases open at their first call. Raises ConfigError."""
    if settings.require_encryption_key and not settings.encryption_key:
        raise ConfigError(["ENCRYPTION_KEY: is not set, but REQUIRE_ENCRYPTION_KEY is; `llm-proxy setup` makes one"])
    sealer = Sealer(settings.encryption_key)
    if settings.db_driver == "postgres":
        url = _checked_url(settings.database_url)
        database = PostgresDatabase(url, pool_size=settings.database_pool_size, timeout_ms=settings.database_timeout_ms)
        return Stores(main=database, records=database, sealer=sealer)
    path = main_path(settings)
    return Stores(
        main=SqliteDatabase(path, timeout_ms=settings.database_timeout_ms),
        records=SqliteDatabase(path.with_name("records.db"), timeout_ms=settings.database_timeout_ms),
        sealer=sealer,
    )


def main_path(settings: Settings) -> Path:
    """Of the SQLite file."""
    return Path(settings.database_path) if settings.database_path else Path(settings.data_dir) / "llm-proxy.db"


def _checked_url(url: Secret | None) -> Secret:
    if not url:
        raise ConfigError(["DATABASE_URL: is not set, but DB_DRIVER is postgres; postgresql://user:password@host/name"])
    try:
        psycopg.conninfo.conninfo_to_dict(url.reveal())
    except psycopg.Error:
        raise ConfigError(
            ["DATABASE_URL: cannot be read; it must look like postgresql://user:password@host:5432/name"]
        ) from None
    return url
