"""The databases of a process, as the settings say."""

from pathlib import Path

from msgspec import Struct

from config.errors import ConfigError
from config.settings import Settings
from sql.database import Database
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
        postgres = _postgres(settings)
        return Stores(main=postgres, records=postgres, sealer=sealer)
    path = main_path(settings)
    return Stores(
        main=SqliteDatabase(path, timeout_ms=settings.database_timeout_ms),
        records=SqliteDatabase(path.with_name("records.db"), timeout_ms=settings.database_timeout_ms),
        sealer=sealer,
    )


def main_path(settings: Settings) -> Path:
    """Of the SQLite file."""
    return Path(settings.database_path) if settings.database_path else Path(settings.data_dir) / "llm-proxy.db"


def _postgres(settings: Settings) -> Database:
    from sql.postgres import PostgresDatabase, is_url  # 15 MB that no process on SQLite needs

    url = settings.database_url
    if not url:
        raise ConfigError(["DATABASE_URL: is not set, but DB_DRIVER is postgres; postgresql://user:password@host/name"])
    if not is_url(url):
        raise ConfigError(["DATABASE_URL: cannot be read; expected postgresql://user:password@host:5432/name"])
    return PostgresDatabase(url, pool_size=settings.database_pool_size, timeout_ms=settings.database_timeout_ms)
