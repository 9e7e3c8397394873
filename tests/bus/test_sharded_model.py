"""The model of the bus over three shards, by the same rules as one stream."""

import itertools
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.sharded import ShardedStreams
from bus.shards import Shard, Shards
from config.secret import Secret
from tests.bus.bus_machine import HUNT, MIN_IDLE_MS, BusMachine
from tests.bus.test_redis_streams_model import IN_THE_LOG, PASS_TIME, SCALE, SOUND
from tests.support.redis_server import RedisServer

NUMBERS = itertools.count(time.time_ns())
FINDS = settings(HUNT, report_multiple_bugs=False)  # one is enough


class ScaledShards(ShardedStreams):
    async def retry_in(self, group: str, consumer: str, keys: Any, delay_ms: int) -> None:
        await super().retry_in(group, consumer, keys, delay_ms * SCALE)


class ShardedMachine(BusMachine):
    url = ""
    log_class: type[ShardedStreams] = ScaledShards
    log: ShardedStreams
    min_idle_ms = MIN_IDLE_MS * SCALE

    def __init__(self) -> None:
        self.key = f"model-{next(NUMBERS)}"
        super().__init__()

    def open_log(self) -> ShardedStreams:
        payloads = Payloads()

        def open_shard(number: int) -> Shard:
            link = RedisLink(Secret(self.url))
            return Shard.of(number, link, self.key, min_idle_ms=self.min_idle_ms, payloads=payloads)

        self.shards = Shards(open_shard, 3, self.key, payloads)
        return self.log_class(self.shards)

    def ask(self, script: str, group: str, *arguments: Any) -> list[Any]:
        """Of each shard."""
        return [
            self.run(shard.link.run(script, [shard.keys.stream, shard.keys.dead(group)], [group, *arguments]))
            for shard in self.shards.all
            if self.run(shard.link.call("EXISTS", shard.keys.stream))
        ]

    def pass_time(self, ms: int) -> None:
        for group in self.sink:
            self.ask(PASS_TIME, group, ms * SCALE)

    def in_the_log(self, group: str) -> set[bytes]:
        return {event for found in self.ask(IN_THE_LOG, group) for event in found}

    def teardown(self) -> None:
        keys = self.run(self.shards.first.link.call("KEYS", f"*{self.key}*"))
        self.run(self.shards.first.link.call("DEL", *keys, "none"))
        super().teardown()


@pytest.mark.slow
def test_no_event_is_lost_over_several_shards_whatever_happens(redis_url: str) -> None:
    machine = type("OnThisServer", (ShardedMachine,), {"url": redis_url})

    run_state_machine_as_test(machine, settings=settings(SOUND, max_examples=12))


class DoesNotLookForAHome(ScaledShards):
    """Each process takes another one, as if the setting had changed."""

    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Any) -> Any:
        if not hasattr(self, "moved"):
            self.moved = self._shards.all[int(await self._shards.first.link.call("INCR", self._stray)) % 3]
        self._shards._homes[spool] = self.moved
        return await super().append(spool, epoch, first_seq, entries)

    @property
    def _stray(self) -> bytes:
        return self._shards._register + b":moves"


class ForgetsAShard(ScaledShards):
    def _in_turn(self) -> Any:
        yield from self._shards.all[1:]


@pytest.mark.slow
@pytest.mark.parametrize("log_class", [DoesNotLookForAHome, ForgetsAShard])
def test_the_model_finds_the_bug_in_shards_that(own_redis: RedisServer, log_class: type[ShardedStreams]) -> None:
    machine = type("Mutant", (ShardedMachine,), {"url": own_redis.url, "log_class": log_class})

    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=FINDS)
