"""The connection to whoever counts: bounded waits, another try by itself, and settlements that are not lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis

from app.limits.counters import GRANTED, REFUSED, Actual, Ask
from app.limits.in_redis import InRedis
from app.limits.resp import CountsAway
from app.limits.shared import SharedCounts
from config.secret import Secret
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import until

ASK = Ask("limit", 2, 1)


@asynccontextmanager
async def counting(
    url: str, *, answer_s: float = 60, name: str = "w", ca_file: str = ""
) -> AsyncIterator[SharedCounts]:
    where = InRedis(Secret(url), ca_file=ca_file)
    shared = SharedCounts(where, prefix="tests", name=name, answer_s=answer_s, hold_ms=600_000)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(shared.keep_up())
        await until(lambda: not shared.is_away)
        yield shared
        keeping.cancel()
    shared.close()


async def test_a_server_that_stands_still_is_away_after_the_time_and_back_when_it_goes_on(
    own_redis: RedisServer,
) -> None:
    async with counting(own_redis.url, answer_s=0.2) as shared:
        own_redis.freeze(is_frozen=True)
        with pytest.raises(CountsAway):
            await shared.reserve("a", [ASK])
        with pytest.raises(CountsAway):  # at once, without waiting
            await shared.reserve("b", [ASK])
        own_redis.freeze(is_frozen=False)
        await until(lambda: not shared.is_away)
        async with asyncio.timeout(60):
            while True:
                with suppress(CountsAway):
                    assert (await shared.reserve("c", [ASK])).status in (GRANTED, REFUSED)
                    break
                await asyncio.sleep(0.05)


async def test_a_settlement_that_got_lost_is_sent_again_and_counted_once(own_redis: RedisServer) -> None:
    async with counting(own_redis.url) as shared:
        ask = Ask("cost", 1000, 500)
        await shared.reserve("a", [ask])
        own_redis.kill()
        await until(lambda: shared.is_away)
        shared.settle("a", [Actual("cost", 20)])
        own_redis.start()
        await until(lambda: not shared.is_away)
        await until(lambda: not shared._unsettled)
        answer = await shared.reserve("b", [Ask("cost", 1000, 1)])
        assert answer.lines[0].remaining in (979, 999)  # 999 where the server's disk had not yet what was held


async def test_scripts_that_a_server_has_forgotten_are_loaded_again(redis_url: str) -> None:
    async with counting(redis_url) as shared:
        await shared.reserve("a", [ASK])
        redis.Redis.from_url(redis_url).script_flush()
        with pytest.raises(CountsAway):
            await shared.reserve("b", [ASK])
        await until(lambda: not shared.is_away)
        assert (await shared.reserve("c", [ASK])).status == GRANTED


async def test_a_read_only_replica_is_away(redis_url: str) -> None:
    client: Any = redis.Redis.from_url(redis_url)
    async with counting(redis_url) as shared:
        client.replicaof("127.0.0.1", 1)
        try:
            with pytest.raises(CountsAway, match=r"READONLY|read only"):
                await shared.reserve("a", [ASK])
        finally:
            client.replicaof("NO", "ONE")
        await until(lambda: not shared.is_away)


async def test_workers_know_how_many_share_while_nobody_can_be_asked(redis_url: str) -> None:
    async with counting(redis_url, name="one") as one, counting(redis_url, name="two") as two:
        await until(lambda: (one.workers, two.workers) == (2, 2))


async def test_a_password_is_given_and_a_wrong_one_told_without_it() -> None:
    server = RedisServer(next(iter(binaries().values())))
    try:
        server.client().config_set("requirepass", "a-secret-of-redis")
        address = f"127.0.0.1:{server.port}/0"
        async with counting(f"redis://:a-secret-of-redis@{address}") as shared:
            assert (await shared.reserve("a", [ASK])).status == GRANTED
        where = InRedis(Secret(f"redis://:wrong-secret@{address}"))
        shared = SharedCounts(where, prefix="tests", name="w", answer_s=60, hold_ms=1000)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(shared.keep_up())
            await until(lambda: "refuses" in shared.why_away)
            keeping.cancel()
        assert shared.is_away and "secret" not in shared.why_away
    finally:
        server.remove()
