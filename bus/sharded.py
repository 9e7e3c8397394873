"""The Bus protocol over the shards of Redis: several streams that look like one.

    append(spool) ──► its home shard          read, claim ──► each shard in turn          ack(keys) ──► each key's shard

A key is `<shard>:<the shard's own>`, in the first shard its own. What one shard refuses is told after the others had
their turn.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import fields, replace

from bus.bus import AppendResult, BusStats, Delivery, Entry, GroupStats
from bus.errors import BusUnavailable
from bus.lots import LotMarks, LotPlace, Parked
from bus.shards import Shard, Shards, name_in

_LONGEST_SLICE_MS: Final = 50  # how long one shard may keep the others waiting when all are quiet
_SHORTEST_SLICE_MS: Final = 4
_QUIET_SHARE: Final = 8  # a slice is that part of the time since something came
T = TypeVar("T")


class ShardedStreams:
    """Raises BusUnavailable as the shards do; reading goes on with those that answer."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._groups: list[str] = []
        self._turn = 0
        self._came_at: dict[str, float] = {}
        """Per group, when a read last found something."""

    async def check(self) -> str:
        """A line on the servers. Raises BusError when one must not be used, BusUnavailable."""
        await self._look()
        lines = [await shard.bus.check() for shard in self._shards.all]
        return lines[0] if len(lines) == 1 else f"{len(lines)} shards: {'; '.join(sorted(set(lines)))}"

    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        await self._look_if_possible()
        return await (await self._shards.home(spool)).bus.append(spool, epoch, first_seq, entries)

    async def ensure_groups(self, names: Sequence[str]) -> None:
        self._groups = sorted({*self._groups, *names})
        await self._look()
        await _all(partial(shard.bus.ensure_groups, self._groups) for shard in self._shards.all)

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        await self._look_if_possible()
        if len(self._shards.all) == 1:
            only = self._shards.first
            of = await only.bus.read(group, consumer, max_entries=max_entries, max_bytes=max_bytes, block_ms=block_ms)
            return _named(only, of)
        until = time.monotonic() + block_ms / 1000
        while not (found := await self._sweep(group, consumer, max_entries, max_bytes)):
            left_ms = int((until - time.monotonic()) * 1000)
            if left_ms <= 0:
                return []
            slice_ms = min(left_ms, self._slice_ms(group))
            if found := await self._wait(group, consumer, max_entries, max_bytes, slice_ms):
                break
        self._came_at[group] = time.monotonic()
        return found

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        """Of one shard at a time, so that a suspect stays alone."""
        await self._look_if_possible()
        for shard in self._in_turn():
            claim = partial(shard.bus.claim, group, consumer, min_idle_ms=min_idle_ms, max_entries=max_entries)
            if found := await self._of(shard, claim):
                return found
        return []

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        async def kept(shard: Shard, own: list[str]) -> set[str]:
            return {name_in(shard.number, key) for key in await shard.bus.extend(group, consumer, own)}

        return set().union(*await _all(partial(kept, shard, own) for shard, own in self._shards.by_shard(keys)))

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        await _all(partial(shard.bus.ack, group, own) for shard, own in self._shards.by_shard(keys))

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        by_shard = self._shards.by_shard(keys)
        await _all(partial(shard.bus.retry_in, group, consumer, own, delay_ms) for shard, own in by_shard)

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        found = self._shards.named(key)
        if found is None:
            return False
        shard, own = found
        return await shard.bus.dead_letter(group, consumer, own, reason=reason, detail=detail)

    async def park(self, group: str, keys: Sequence[str]) -> None:
        await _all(partial(shard.bus.park, group, own) for shard, own in self._shards.by_shard(keys))

    async def unpark(
        self, group: str, lot: bytes, place: LotPlace, events: Sequence[Parked] = (), *, room: int = 0
    ) -> LotMarks:
        """What is known of a lot lies in the first shard, wherever its events came from."""
        return await self._shards.first.bus.unpark(group, lot, place, events, room=room)

    async def end_lot(self, group: str, lot: bytes) -> None:
        await self._shards.first.bus.end_lot(group, lot)

    async def trim(self) -> int:
        await self._look_if_possible()
        return sum(await _all(shard.bus.trim for shard in self._shards.all))

    async def delivered_through(self, spool: bytes) -> int:
        await self._look_if_possible()
        return await (await self._shards.home(spool)).bus.delivered_through(spool)

    async def retire(self, spool: bytes) -> None:
        await self._look_if_possible()
        await (await self._shards.home(spool)).bus.retire(spool)
        self._shards.leave(spool)

    async def expire_claims(self, before_ms: int) -> int:
        """As long as one shard does not answer nothing goes: its entries may refer to anything."""
        await self._look()
        oldest = await _all(shard.bus.oldest_ms for shard in self._shards.all)
        return await self._shards.payloads.expire(before_ms, oldest)

    async def stats(self) -> BusStats:
        await self._look()
        each = await _all(shard.bus.stats for shard in self._shards.all)
        names = sorted({group.name for stats in each for group in stats.groups})
        groups = (_summed([group for stats in each for group in stats.groups if group.name == name]) for name in names)
        entries, size, appended = (
            sum(of) for of in zip(*((s.entries, s.bytes, s.appended) for s in each), strict=True)
        )
        return BusStats(entries, size, appended, tuple(groups), each[0].claimed, each[0].unclaimed)

    async def close(self) -> None:
        await self._shards.close()

    async def _look(self) -> None:
        """Shards that others began get our groups before anything of them can be trimmed."""
        await _all(partial(shard.bus.ensure_groups, self._groups) for shard in await self._shards.look())

    async def _look_if_possible(self) -> None:
        """What can be done with the shards that are known is done."""
        with contextlib.suppress(BusUnavailable):
            await self._look()

    async def _sweep(self, group: str, consumer: str, max_entries: int, max_bytes: int) -> list[Delivery]:
        """What is there, of each shard in turn until it is enough."""
        found: list[Delivery] = []
        size = 0
        for shard in self._in_turn():
            room = {"max_entries": max_entries - len(found), "max_bytes": max_bytes - size, "block_ms": 0}
            if min(room["max_entries"], room["max_bytes"]) <= 0:
                break
            of = await self._of(shard, partial(shard.bus.read, group, consumer, **room), has_others=bool(found))
            found += of
            size += sum(len(delivery.payload) for delivery in of)
        return found

    async def _wait(self, group: str, consumer: str, max_entries: int, max_bytes: int, block_ms: int) -> list[Delivery]:
        """For the first that comes, in as many shards at once as may give one."""
        asked = list(self._in_turn())[:max_entries]
        share = {"max_entries": max_entries // len(asked), "max_bytes": max_bytes // len(asked), "block_ms": block_ms}
        async with asyncio.TaskGroup() as tasks:
            reads = [
                tasks.create_task(
                    self._of(shard, partial(shard.bus.read, group, consumer, **share), has_others=True), name="shard"
                )
                for shard in asked
            ]
        return [delivery for read in reads for delivery in read.result()]

    def _slice_ms(self, group: str) -> int:
        """Short while events come, so that none waits for a shard that has none."""
        quiet_ms = (time.monotonic() - self._came_at.get(group, 0.0)) * 1000
        return int(min(_LONGEST_SLICE_MS, max(_SHORTEST_SLICE_MS, quiet_ms / _QUIET_SHARE)))

    async def _of(
        self, shard: Shard, take: Callable[[], Awaitable[list[Delivery]]], *, has_others: bool = False
    ) -> list[Delivery]:
        """Nothing from a shard that is away, while there are others to go on with."""
        try:
            found = _named(shard, await take())
        except BusUnavailable:
            shard.fail()
            if not has_others and all(other.has_failed for other in self._shards.all):
                raise
            return []
        self._shards.note_answer(shard)
        return found

    def _in_turn(self) -> Iterator[Shard]:
        """Those that answer, from another one each time; when none does, all of them."""
        shards = [shard for shard in self._shards.all if not shard.rests] or self._shards.all
        self._turn += 1
        start = self._turn % len(shards)
        yield from shards[start:] + shards[:start]


async def _all(acts: Iterator[Callable[[], Awaitable[T]]]) -> list[T]:
    """One after the other, whatever one of them says; the first error comes in the end."""
    done, failed = [], None
    for act in acts:
        try:
            done.append(await act())
        except BusUnavailable as error:
            failed = failed or error
    if failed:
        raise failed
    return done


def _named(shard: Shard, deliveries: Sequence[Delivery]) -> list[Delivery]:
    if not shard.number:
        return list(deliveries)
    return [replace(delivery, key=name_in(shard.number, delivery.key)) for delivery in deliveries]


def _summed(of: Sequence[GroupStats]) -> GroupStats:
    """One group over all shards: its counts are sums, its age is that of the oldest."""
    counts = [field.name for field in fields(GroupStats) if field.name not in ("name", "oldest_ms")]
    sums = {name: sum(getattr(group, name) for group in of) for name in counts}
    return GroupStats(name=of[0].name, oldest_ms=max(group.oldest_ms for group in of), **sums)
