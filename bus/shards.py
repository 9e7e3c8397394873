"""The shards of a bus on Redis: how many there are, and where each spool is at home.

    shard 0 is {key}, shard 1 is {key:1}, shard 2 is {key:2} ...      {key}:shards  all that were ever in use, but 0

A spool stays in the shard that knows it, whatever the setting becomes; one that none knows goes by its id, which is
random. Shards that are beyond the setting are read like all others: what lies in them arrives.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from bus.errors import BusUnavailable
from bus.redis_keys import RedisKeys
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.redis_streams import RedisStreams

_LOOK_S: Final = 5.0  # between looks whether others use more shards by now
_LOOK_AGAIN_S: Final = 1.0  # after one that was not answered
_PAUSE_S: Final = 3.0  # before a shard that did not answer is read again: each try may take as long as an answer may
_REGISTER: Final = b"shards"


def shard_key(key: str, number: int) -> str:
    return f"{key}:{number}" if number else key


def name_in(number: int, own: str) -> str:
    """Unique over all shards; in the first the name stays as it is."""
    return f"{number}:{own}" if number else own


class Shard(Struct):
    number: int
    link: RedisLink
    keys: RedisKeys
    bus: RedisStreams
    letters: RedisLetters
    has_failed: bool = False
    """It did not answer the last time."""
    rests_until: float = 0.0

    @classmethod
    def of(cls, number: int, link: RedisLink, key: str, *, min_idle_ms: int, payloads: Payloads) -> "Shard":
        name = shard_key(key, number)
        bus = RedisStreams(link, name, min_idle_ms=min_idle_ms, payloads=payloads)
        return cls(number, link, RedisKeys(name), bus, RedisLetters(link, name, payloads))

    @property
    def rests(self) -> bool:
        return time.monotonic() < self.rests_until

    def fail(self) -> None:
        self.has_failed, self.rests_until = True, time.monotonic() + _PAUSE_S

    async def knows(self, spool: bytes) -> bool:
        return bool(await self.link.call("HEXISTS", self.keys.producers, spool))


class Shards:
    """Each has a connection of its own: on a cluster they lie on several nodes."""

    def __init__(self, open_shard: Callable[[int], Shard], count: int, key: str, payloads: Payloads) -> None:
        """`count`: as it is set, over which new spools are spread."""
        self.payloads = payloads
        self.all = [open_shard(number) for number in range(count)]
        """As far as it is known; never fewer than before."""
        self._open, self._count = open_shard, count
        self._register = b"{" + key.encode() + b"}:" + _REGISTER
        self._homes: dict[bytes, Shard] = {}
        self._is_known, self._look_at = False, 0.0

    @property
    def first(self) -> Shard:
        """In use whatever is set; it holds what there is once."""
        return self.all[0]

    async def look(self) -> list[Shard]:
        """Tells others of ours and learns of theirs, now and then; returns the new ones. Raises BusUnavailable."""
        if time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + _LOOK_AGAIN_S
        for number in range(1, self._count):
            await self.first.link.call("HSETNX", self._register, number, "")
        known = int(await self.first.link.call("HLEN", self._register)) + 1
        added = [self._open(number) for number in range(len(self.all), known)]
        self.all += added
        self._is_known, self._look_at = True, time.monotonic() + _LOOK_S
        return added

    def note_answer(self, shard: Shard) -> None:
        """Where one is back others may be: they often lie on one server."""
        if shard.has_failed:
            shard.has_failed = False
            for other in self.all:
                other.rests_until = 0.0

    async def home(self, spool: bytes) -> Shard:
        """Raises BusUnavailable while it cannot be known."""
        if home := self._homes.get(spool):
            return home
        if not self._is_known:
            raise BusUnavailable("it is not known yet how many shards the bus has")
        found = self.all[int.from_bytes(spool) % self._count]
        for shard in self.all:
            if await shard.knows(spool):
                found = shard
                break
        self._homes[spool] = found
        return found

    def leave(self, spool: bytes) -> None:
        self._homes.pop(spool, None)

    def named(self, text: str) -> tuple[Shard, str] | None:
        """Whose key or letter it is, and its own name of it; None for what is of no shard. See `name_in`."""
        number, colon, own = text.partition(":")
        if not colon:
            return self.first, text
        if not number.isascii() or not number.isdigit() or int(number) >= len(self.all):
            return None
        return self.all[int(number)], own

    def by_shard(self, texts: Sequence[str]) -> list[tuple[Shard, list[str]]]:
        by_number: dict[int, list[str]] = {}
        for text in texts:
            if found := self.named(text):
                by_number.setdefault(found[0].number, []).append(found[1])
        return [(self.all[number], own) for number, own in by_number.items()]

    async def close(self) -> None:
        for shard in self.all:
            await shard.bus.close()
