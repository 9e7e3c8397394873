"""Brings the database's schema to this program's, as `server` does it: by itself on SQLite, never on PostgreSQL."""

import asyncio
import logging

from config.logs import log
from config.settings import Settings
from sql import migrate
from sql.errors import StoreFull, StoreUnavailable
from sql.stores import open_stores

logger = logging.getLogger(__name__)

_ASK_AGAIN_S = 1.0
_LONGEST_PAUSE_S = 10.0


async def prepare(settings: Settings) -> list[str]:
    """Returns the migrations that were applied. Raises SchemaMismatch, StoreUnavailable."""
    stores = open_stores(settings)
    try:
        if settings.db_driver == "sqlite":
            return await migrate.up(stores)
        await migrate.check(stores)
        return []
    finally:
        await stores.close()


async def prepare_when_it_answers(settings: Settings) -> None:
    """Asks again until the database is there. Raises SchemaMismatch, StoreFull."""
    pause_s = _ASK_AGAIN_S
    while True:
        try:
            await prepare(settings)
        except StoreFull:
            raise
        except StoreUnavailable as error:
            log(logger, logging.WARNING, "the database does not answer; asking again", error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            log(logger, logging.INFO, "the database answers; its schema is right")
            return
