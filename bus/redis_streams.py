"""The Bus protocol on one Redis stream: production's bus, for any number of hosts.

Works with what Redis 6.2, Redis 7 and Valkey have in common and with ElastiCache's restrictions: no CONFIG, no MULTI,
no MAXLEN. What must be atomic is a Lua script over keys of one hash slot (`redis_keys`, `lua/`). Here is the producer's
side and the upkeep; what consumers do is in `redis_groups`.
"""

from collections.abc import Sequence
from typing import Any, Final

from bus.bus import AppendResult, AppendStatus, BusStats, Entry, GroupStats
from bus.errors import BusUnavailable
from bus.redis_link import MemoryGuard, RedisLink, check_server
from bus.redis_lots import RedisLots
from bus.redis_payloads import PLAIN, Payloads

_TRIM_AT_ONCE: Final = 10_000


class RedisStreams(RedisLots):
    """One consumer group per backend. Raises BusUnavailable while the server is away; the outcome is then unknown."""

    def __init__(self, link: RedisLink, key: str, *, min_idle_ms: int, payloads: Payloads | None = None) -> None:
        super().__init__(link, key, min_idle_ms=min_idle_ms, payloads=payloads)
        self._guard = MemoryGuard(link)

    async def check(self) -> str:
        """A line on the server's durability. Raises BusError when it must not be used, BusUnavailable."""
        return await check_server(self._link)

    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        if entries:
            await self._guard.check()
        packed = [await self._payloads.pack(entry, self._link, self._keys.claims) for entry in entries]
        arguments: list[Any] = [spool, epoch, first_seq, len(entries)]
        for entry, one in zip(entries, packed, strict=True):
            arguments += (entry.event_id, one.value)
        for place, one in enumerate(packed):
            if one.field != PLAIN:
                arguments += (place, one.field, one.size)
        keys = [self._stream, self._keys.producers, self._keys.counters, self._keys.spans(spool)]
        status, known, high_water, added = await self._run("append", keys, arguments)
        if status == b"NOSTREAM":
            await self._create()
            status, known, high_water, added = await self._run("append", keys, arguments)
        if status == b"NOSTREAM":
            raise BusUnavailable("the stream vanished twice; is another program deleting it?")
        return AppendResult(AppendStatus(status.decode().lower()), known, high_water, added)

    async def trim(self) -> int:
        total = 0
        while count := await self._run("trim", [self._stream], [_TRIM_AT_ONCE, *self._groups]):
            total += count
        return total

    async def delivered_through(self, spool: bytes) -> int:
        return int(await self._run("through", [self._stream, self._keys.producers, self._keys.spans(spool)], [spool]))

    async def retire(self, spool: bytes) -> None:
        await self._link.call("HDEL", self._keys.producers, spool, spool + b":through")
        await self._link.call("DEL", self._keys.spans(spool))

    async def oldest_ms(self) -> int | None:
        """When the oldest entry that is still there was appended, by the server's clock; None for none."""
        found = await self._link.call("XRANGE", self._stream, "-", "+", "COUNT", 1)
        return int(found[0][0].partition(b"-")[0]) if found else None

    async def stats(self) -> BusStats:
        entries, appended, _, *groups = await self._run("stats", [self._stream, self._keys.counters], [])
        size = await self._link.call("MEMORY", "USAGE", self._stream)
        told = (GroupStats(name.decode(), *counts) for name, *counts in groups)
        ordered = tuple(sorted(told, key=lambda group: group.name))
        taken = self._payloads
        return BusStats(entries, int(size or 0), appended, ordered, taken.claimed, taken.unclaimed)

    async def close(self) -> None:
        self._payloads.close()
        await self._link.close()
