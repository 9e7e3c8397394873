"""The bus on Redis as the settings say, for whoever opens one: keeper, dispatcher, admin, CLI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bus.claims import ClaimFolder
from bus.dead_letters import DeadLetters
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.redis_streams import RedisStreams
from config.settings import Settings


def payloads_of(settings: Settings) -> Payloads:
    folder = ClaimFolder(Path(settings.claim_check_dir), settings.record) if settings.claim_check_dir else None
    return Payloads(folder, above=settings.claim_check_bytes, timeout_s=settings.redis_timeout_ms / 1000)


def open_redis(settings: Settings) -> RedisStreams:
    """Asks nothing yet. Raises BusError when the settings name no server."""
    return RedisStreams(
        RedisLink.of(settings),
        settings.redis_stream_key,
        min_idle_ms=settings.dispatcher_min_idle_ms,
        payloads=payloads_of(settings),
    )


@asynccontextmanager
async def open_redis_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    """Raises BusError when the settings name no server."""
    link, payloads = RedisLink.of(settings), payloads_of(settings)
    try:
        yield RedisLetters(link, settings.redis_stream_key, payloads)
    finally:
        payloads.close()
        await link.close()
