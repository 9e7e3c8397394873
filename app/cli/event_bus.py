"""The bus that the settings name, opened: Redis Streams, the embedded log, or one in a folder that goes with it."""

import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bus.bus import Bus
from bus.errors import BusError, BusUnavailable
from bus.sqlite_log import SqliteLog
from config import paths
from config.checks import effective_event_bus, is_bus_shared
from config.errors import ConfigError
from config.logs import log
from config.settings import Settings

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[Bus]:
    """Raises BusError when another keeper has the log, ConfigError when Redis would lose events in silence."""
    if is_bus_shared(settings):
        async with _open_redis(settings) as bus:
            yield bus
        return
    with contextlib.ExitStack() as stack:
        path = paths.bus_db(settings)
        if effective_event_bus(settings) == "in-memory":
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-proxy-"))) / "bus.db"
        log_file = await SqliteLog.open(path)
        try:
            yield log_file
        finally:
            await log_file.close()


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator[Bus]:
    from bus.redis_bus import open_redis

    bus = open_redis(settings)
    try:
        log(logger, logging.INFO, "the event bus is Redis Streams", server=await bus.check())
    except BusUnavailable as error:
        log(logger, logging.WARNING, "Redis is away; events wait in the spool", error=str(error))
    except BusError as error:
        raise ConfigError([f"REDIS_URL: {error}"]) from error
    try:
        yield bus
    finally:
        await bus.close()
