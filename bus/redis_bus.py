"""The bus on Redis as the settings say, for whoever opens one: keeper, dispatcher, admin, CLI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bus.claims import ClaimFolder
from bus.dead_letters import DeadLetters
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.sharded import ShardedStreams
from bus.sharded_letters import ShardedLetters
from bus.shards import Shard, Shards
from config.settings import Settings


def payloads_of(settings: Settings) -> Payloads:
    folder = ClaimFolder(Path(settings.claim_check_dir), settings.record) if settings.claim_check_dir else None
    return Payloads(folder, above=settings.claim_check_bytes, timeout_s=settings.redis_timeout_ms / 1000)


def open_shards(settings: Settings) -> Shards:
    """Asks nothing yet. Raises BusError when the settings name no server."""
    payloads, key = payloads_of(settings), settings.redis_stream_key

    def open_shard(number: int) -> Shard:
        link = RedisLink.of(settings)
        return Shard.of(number, link, key, min_idle_ms=settings.dispatcher_min_idle_ms, payloads=payloads)

    return Shards(open_shard, settings.stream_shards, key, payloads)


def open_redis(settings: Settings) -> ShardedStreams:
    """Asks nothing yet. Raises BusError when the settings name no server."""
    return ShardedStreams(open_shards(settings))


@asynccontextmanager
async def open_redis_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    """Raises BusError when the settings name no server."""
    shards = open_shards(settings)
    try:
        yield ShardedLetters(shards)
    finally:
        await shards.close()
