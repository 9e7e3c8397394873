"""The model of the bus on real servers, by the rules of the embedded log, and bugs that it must find.

One server for all examples, each with a key of its own. Time passes by ageing what is pending: a millisecond of the
model is a hundred seconds there, so that what an example really takes makes nothing due.
"""

import itertools
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from bus.bus import Delivery
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from config.secret import Secret
from tests.bus.bus_machine import HUNT, MIN_IDLE_MS, BusMachine
from tests.support.redis_server import RedisServer

SCALE = 100_000

SOUND = settings(max_examples=25, stateful_step_count=30, deadline=None)
NUMBERS = itertools.count(time.time_ns())

PASS_TIME = """
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], p[2], 0, p[1], 'IDLE', p[3] + ARGV[2], 'JUSTID')
end
"""
IN_THE_LOG = """
local found = {}
local function add(entries)
  for _, e in ipairs(entries) do found[#found + 1] = e[2][2] end
end
add(redis.call('XRANGE', KEYS[2], '-', '+'))
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)) do
  add(redis.call('XRANGE', KEYS[1], p[1], p[1]))
end
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = {}
  for j = 1, #g, 2 do of[g[j]] = g[j + 1] end
  if of['name'] == ARGV[1] then add(redis.call('XRANGE', KEYS[1], '(' .. of['last-delivered-id'], '+')) end
end
return found
"""


class ScaledStreams(RedisStreams):
    async def retry_in(self, group: str, consumer: str, keys: Any, delay_ms: int) -> None:
        await super().retry_in(group, consumer, keys, delay_ms * SCALE)


class RedisMachine(BusMachine):
    url = ""
    log_class: type[RedisStreams] = ScaledStreams
    log: RedisStreams
    min_idle_ms = MIN_IDLE_MS * SCALE

    def __init__(self) -> None:
        self.key = f"model-{next(NUMBERS)}"
        super().__init__()

    def open_log(self) -> RedisStreams:
        return self.log_class(RedisLink(Secret(self.url)), self.key, min_idle_ms=self.min_idle_ms)

    def ask(self, script: str, group: str, *arguments: Any) -> Any:
        keys = [self.log._stream, self.log._dead(group)]
        return self.run(self.log._link.run(script, keys, [group, *arguments]))

    def pass_time(self, ms: int) -> None:
        for group in self.sink:
            self.ask(PASS_TIME, group, ms * SCALE)

    def in_the_log(self, group: str) -> set[bytes]:
        return set(self.ask(IN_THE_LOG, group))

    def teardown(self) -> None:
        keys = self.run(self.log._link.call("KEYS", f"*{self.key}*"))
        self.run(self.log._link.call("DEL", *keys, "none"))
        super().teardown()


@pytest.mark.slow
def test_no_event_is_lost_whatever_happens(redis_url: str) -> None:
    machine = type("OnThisServer", (RedisMachine,), {"url": redis_url})

    run_state_machine_as_test(machine, settings=SOUND)


class TrimsByLength(ScaledStreams):
    async def trim(self) -> int:
        return int(await self._link.call("XTRIM", self._stream, "MAXLEN", 4))


class TrimsUnderPending(ScaledStreams):
    async def trim(self) -> int:
        groups = await self._link.call("XINFO", "GROUPS", self._stream)
        last = min((dict(zip(g[::2], g[1::2], strict=True))[b"last-delivered-id"] for g in groups), default=b"0-0")
        return int(await self._link.call("XTRIM", self._stream, "MINID", last))


class BeginsGroupsAtTheEnd(ScaledStreams):
    async def _create(self) -> None:
        await super()._create()
        for group in self._groups:
            await self._link.call("XGROUP", "SETID", self._stream, group, "$")


class DeletesConsumersThatAreGone(ScaledStreams):
    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        for row in await self._link.call("XINFO", "CONSUMERS", self._stream, group):
            if (name := dict(zip(row[::2], row[1::2], strict=True))[b"name"]) != consumer.encode():
                await self._link.call("XGROUP", "DELCONSUMER", self._stream, group, name)
        return await super().claim(group, consumer, min_idle_ms=min_idle_ms, max_entries=max_entries)


class GivesBackByForgetting(ScaledStreams):
    async def retry_in(self, group: str, consumer: str, keys: Any, delay_ms: int) -> None:
        await self.ack(group, keys)


class BuriesWithoutAskingWhose(ScaledStreams):
    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        await self.ack(group, [key])
        return True


class AppendsResendsAgain(ScaledStreams):
    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Any) -> Any:
        known = await super().append(spool, epoch, 0, [])
        return await super().append(spool, epoch, known.high_water + 1, entries)


class CountsHandedOutAsDelivered(ScaledStreams):
    async def delivered_through(self, spool: bytes) -> int:
        return (await self.append(spool, 1, 0, [])).high_water


@pytest.mark.slow
@pytest.mark.parametrize(
    "log_class",
    [
        TrimsByLength,
        TrimsUnderPending,
        BeginsGroupsAtTheEnd,
        DeletesConsumersThatAreGone,
        GivesBackByForgetting,
        BuriesWithoutAskingWhose,
        AppendsResendsAgain,
        CountsHandedOutAsDelivered,
    ],
)
def test_the_model_finds_the_bug_in_streams_that(own_redis: RedisServer, log_class: type[RedisStreams]) -> None:
    machine = type("Mutant", (RedisMachine,), {"url": own_redis.url, "log_class": log_class})

    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=HUNT)
