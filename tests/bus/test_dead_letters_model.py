"""Whatever is buried, replayed, purged, retried, trimmed and reopened in whatever order: the ledger closes at every
step, and each event ends delivered, dead or purged, once, in each group.
"""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bus.bus import Bus, Delivery, Entry
from bus.dead_letters import DeadLetters, all_letters
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.sqlite_log import SqliteLog
from config.secret import Secret

GROUPS = ("db", "file")
STEPS = 150
SPOOL = b"spool-one-------"
Opened = tuple[Bus, DeadLetters]


class Play:
    def __init__(self, seed: int, opened: Opened, reopen: Callable[[Bus], Awaitable[Opened]]) -> None:
        self.dice = random.Random(seed)
        self.bus, self.letters = opened
        self.reopen = reopen
        self.appended = 0
        self.held: dict[str, list[Delivery]] = {group: [] for group in GROUPS}
        self.delivered: dict[str, list[bytes]] = {group: [] for group in GROUPS}
        self.purged: dict[str, list[str]] = {group: [] for group in GROUPS}

    async def step(self) -> None:
        acts = (self.append, self.read, self.claim, self.ack, self.retry, self.bury, self.replay, self.purge, self.rest)
        await self.dice.choice(acts)(self.dice.choice(GROUPS))

    async def append(self, group: str) -> None:
        count = self.dice.randint(1, 4)
        entries = [Entry(n.to_bytes(16, "big"), b"<%d>" % n) for n in range(self.appended, self.appended + count)]
        await self.bus.append(SPOOL, 1, self.appended, entries)
        self.appended += count

    async def read(self, group: str) -> None:
        self.take(group, await self.bus.read(group, "c", max_entries=3, max_bytes=1 << 20, block_ms=0))

    async def claim(self, group: str) -> None:
        self.take(group, await self.bus.claim(group, "c", min_idle_ms=0, max_entries=5))

    def take(self, group: str, deliveries: list[Delivery]) -> None:
        known = {delivery.key for delivery in deliveries}
        self.held[group] = [d for d in self.held[group] if d.key not in known] + deliveries

    def some(self, group: str) -> list[Delivery]:
        held = self.held[group]
        return [held.pop(self.dice.randrange(len(held))) for _ in range(min(len(held), self.dice.randint(1, 3)))]

    async def ack(self, group: str) -> None:
        some = self.some(group)
        await self.bus.ack(group, [delivery.key for delivery in some])
        self.delivered[group] += [delivery.event_id for delivery in some]

    async def retry(self, group: str) -> None:
        await self.bus.retry_in(group, "c", [delivery.key for delivery in self.some(group)], 0)

    async def bury(self, group: str) -> None:
        for delivery in self.some(group):
            assert await self.bus.dead_letter(group, "c", delivery.key, reason="permanent", detail="no")

    async def replay(self, group: str) -> None:
        ids = self.chosen(await self.dead(group))
        assert await self.letters.replay_letters(group, list(ids)) == len(ids)

    async def purge(self, group: str) -> None:
        ids = self.chosen(await self.dead(group))
        assert await self.letters.purge_letters(group, list(ids)) == len(ids)
        self.purged[group] += ids.values()

    async def rest(self, group: str) -> None:
        await self.bus.trim()
        if self.dice.random() < 0.3:
            self.held = {name: [] for name in GROUPS}
            self.bus, self.letters = await self.reopen(self.bus)

    def chosen(self, letters: dict[str, str]) -> dict[str, str]:
        return {letter: event for letter, event in letters.items() if self.dice.random() < 0.6}

    async def dead(self, group: str) -> dict[str, str]:
        """Letters and the hex of their events."""
        pages = [page async for page in all_letters(self.letters, group)]
        return {letter.id: letter.event_id.replace("-", "") for page in pages for letter in page.letters}

    async def closes(self) -> None:
        stats = await self.bus.stats()
        assert stats.appended == self.appended
        for group in stats.groups:
            known = group.delivered + group.dead + group.purged + group.earlier + group.pending + group.lag
            assert known == stats.appended, group
            assert group.dead == len(await self.dead(group.name))

    async def end(self) -> None:
        for group in GROUPS:
            while True:
                stats = next(known for known in (await self.bus.stats()).groups if known.name == group)
                if not stats.pending + stats.lag:
                    break
                await self.read(group)
                await self.claim(group)
                while self.held[group]:
                    await self.ack(group)
            dead = list((await self.dead(group)).values())
            ended = [event.hex() for event in self.delivered[group]] + dead + self.purged[group]
            assert sorted(ended) == [n.to_bytes(16, "big").hex() for n in range(self.appended)]


async def play(seed: int, opened: Opened, reopen: Callable[[Bus], Awaitable[Opened]]) -> None:
    game = Play(seed, opened, reopen)
    for _ in range(STEPS):
        await game.step()
        await game.closes()
    await game.end()
    await game.closes()
    await game.bus.close()


@pytest.mark.parametrize("seed", range(6))
async def test_on_the_embedded_log(seed: int, tmp_path: Path) -> None:
    async def opened() -> Opened:
        log = await SqliteLog.open(tmp_path / "bus.db")
        await log._on_thread(lambda on: on.execute("PRAGMA synchronous=OFF").fetchall())  # no power fails here
        await log.ensure_groups(GROUPS)
        return log, log

    async def reopen(bus: Bus) -> Opened:
        await bus.close()
        return await opened()

    await play(seed, await opened(), reopen)


@pytest.mark.parametrize("seed", range(3))
async def test_on_redis(seed: int, redis_url: str) -> None:
    async def opened() -> Opened:
        link = RedisLink(Secret(redis_url))
        bus = RedisStreams(link, "test-events", min_idle_ms=0)
        await bus.ensure_groups(GROUPS)
        return bus, RedisLetters(link, "test-events")

    async def reopen(bus: Bus) -> Opened:
        await bus.close()
        return await opened()

    await play(seed, await opened(), reopen)
