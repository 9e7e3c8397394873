"""Several streams that look like one bus: on one server, on two, and while their number changes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from bus import shards as shards_module
from bus.bus import Bus, Delivery, Entry
from bus.errors import BusUnavailable
from bus.lots import LotPlace, Parked
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.sharded import ShardedStreams
from bus.sharded_letters import ShardedLetters
from bus.shards import Shard, Shards
from config.secret import Secret
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import eventually_async

COUNT = 3
SPOOLS = [f"spool-{n:010d}".encode() for n in range(12)]
NUMBERS = itertools.count()


def shards_at(urls: Sequence[str], count: int = COUNT) -> Shards:
    """The first shard on the first server, the others in turn."""
    payloads = Payloads()

    def open_shard(number: int) -> Shard:
        link = RedisLink(Secret(urls[number % len(urls)]), answer_s=2.0)
        return Shard.of(number, link, "k", min_idle_ms=100, payloads=payloads)

    return Shards(open_shard, count, "k", payloads)


@asynccontextmanager
async def bus_at(*urls: str, count: int = COUNT) -> AsyncIterator[ShardedStreams]:
    bus = ShardedStreams(shards_at(urls, count))
    await bus.ensure_groups(["db", "file"])
    yield bus
    await bus.close()


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[ShardedStreams]:
    async with bus_at(redis_url) as opened:
        yield opened


@pytest.fixture
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_LOOK_S", 0.0)


def entries(count: int) -> list[Entry]:
    return [Entry(f"event-{next(NUMBERS):010d}".encode(), b"payload") for _ in range(count)]


async def fill(bus: Bus, each: int = 2, spools: Sequence[bytes] = SPOOLS, first_seq: int = 0) -> set[bytes]:
    """Appends to each spool; the ids of all."""
    ids: set[bytes] = set()
    for spool in spools:
        new = entries(each)
        result = await bus.append(spool, 1, first_seq, new)
        assert result.added == each
        ids |= {entry.event_id for entry in new}
    return ids


async def read(bus: Bus, max_entries: int = 1000, block_ms: int = 0) -> list[Delivery]:
    return await bus.read("db", "c", max_entries=max_entries, max_bytes=1 << 20, block_ms=block_ms)


async def claim(bus: Bus, idle_ms: int = 0) -> list[Delivery]:
    return await bus.claim("db", "d", min_idle_ms=idle_ms, max_entries=1000)


def keys(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.key for delivery in deliveries]


def ids(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [delivery.event_id for delivery in deliveries]


def lengths(url: str) -> list[int]:
    client: Any = redis.Redis.from_url(url)
    return [client.xlen("{k}:evt"), *(client.xlen(f"{{k:{number}}}:evt") for number in range(1, COUNT))]


async def closes(bus: Bus) -> bool:
    stats = await bus.stats()
    return all(
        stats.appended == g.delivered + g.dead + g.purged + g.earlier + g.pending + g.lag + g.parked + g.lost
        for g in stats.groups
    )


async def test_each_spool_has_one_shard_and_all_arrive_once(bus: ShardedStreams, redis_url: str) -> None:
    sent = await fill(bus)
    sent |= await fill(bus, first_seq=2)

    got = await read(bus)
    homes = [sum(int.from_bytes(spool) % COUNT == number for spool in SPOOLS) for number in range(COUNT)]

    assert lengths(redis_url) == [4 * spools for spools in homes]
    assert min(homes) > 0
    assert sorted(ids(got)) == sorted(sent)
    assert await read(bus) == await claim(bus, 60_000) == []


async def test_with_one_shard_the_names_are_what_they_were(redis_url: str) -> None:
    async with bus_at(redis_url, count=1) as bus:
        await fill(bus)
        got = await read(bus)

    assert lengths(redis_url) == [2 * len(SPOOLS), 0, 0]
    assert ":" not in "".join(keys(got))


async def test_what_is_acknowledged_goes_from_every_shard_and_the_ledger_closes(bus: ShardedStreams) -> None:
    await fill(bus)
    got = await read(bus)
    mine = await bus.extend("db", "c", keys(got))
    await bus.retry_in("db", "c", keys(got[:5]), 0)
    for delivery in got[5:10]:
        assert await bus.dead_letter("db", "c", delivery.key, reason="permanent", detail="")
    await bus.ack("db", keys(got[10:]))

    (db, file) = (await bus.stats()).groups

    assert mine == set(keys(got))
    assert (db.pending, db.dead, db.delivered, file.lag) == (5, 5, len(got) - 10, len(got))
    assert await closes(bus)
    assert {await bus.delivered_through(spool) for spool in SPOOLS} == {-1}
    got = await bus.read("file", "c", max_entries=1000, max_bytes=1 << 20, block_ms=0)
    await bus.ack("file", keys(got))
    while due := await claim(bus):
        await bus.ack("db", keys(due))
    assert {await bus.delivered_through(spool) for spool in SPOOLS} == {1}
    await bus.trim()
    for spool in SPOOLS:
        await bus.retire(spool)
        assert (await bus.append(spool, 1, 0, [])).high_water == -1


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3)])
@pytest.mark.usefixtures("looks_at_once")
async def test_when_the_number_changes_nothing_is_lost_or_doubled(redis_url: str, before: int, after: int) -> None:
    async with bus_at(redis_url, count=before) as bus:
        sent = await fill(bus)
    async with bus_at(redis_url, count=after) as bus:
        assert {(await bus.append(spool, 1, 2, [])).high_water for spool in SPOOLS} == {1}, "a spool stays at home"
        sent |= await fill(bus, spools=SPOOLS[:6], first_seq=2)
        sent |= await fill(bus, spools=[spool + b"-new" for spool in SPOOLS])

        got = await read(bus)
        await bus.ack("db", keys(got))

        assert sorted(ids(got)) == sorted(sent)
        assert await closes(bus)


@pytest.mark.usefixtures("looks_at_once")
async def test_a_dispatcher_learns_of_shards_that_others_begin(redis_url: str) -> None:
    async with bus_at(redis_url, count=1) as old:
        assert await read(old) == []
        async with bus_at(redis_url) as new:
            sent = await fill(new)

        assert sorted(ids(await read(old))) == sorted(sent)


async def test_a_read_gives_no_more_than_it_was_asked_for(bus: ShardedStreams) -> None:
    sent = await fill(bus)

    got = []
    while some := await read(bus, max_entries=1, block_ms=50):
        assert len(some) == 1
        got += some

    assert sorted(ids(got)) == sorted(sent)


async def test_a_read_that_waits_is_woken_from_any_shard(bus: ShardedStreams) -> None:
    for spool in {int.from_bytes(spool) % COUNT: spool for spool in SPOOLS}.values():
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(read(bus, block_ms=60_000), name="read")
            sent = await fill(bus, spools=[spool], each=1, first_seq=0)

        assert set(ids(waiting.result())) == sent


async def test_a_suspect_is_handed_out_alone(bus: ShardedStreams) -> None:
    await fill(bus, each=1)
    await read(bus)
    for _ in range(2 * COUNT):
        await claim(bus)  # of each shard twice, so that all are suspects

    seen = [await claim(bus) for _ in range(COUNT)]

    assert [len(handed) for handed in seen] == [1] * COUNT


async def test_events_of_any_shard_are_parked_and_come_back(bus: ShardedStreams) -> None:
    sent = await fill(bus)
    got = await read(bus)
    lot = b"lot-------------"
    await bus.unpark("db", lot, LotPlace(holds=len(got)))
    await bus.park("db", keys(got))
    (db, _) = (await bus.stats()).groups
    assert (db.parked, db.pending) == (len(sent), 0)
    assert await closes(bus)

    events = [Parked(delivery.event_id, delivery.payload, 1) for delivery in got]
    marks = await bus.unpark("db", lot, LotPlace(holds=len(got)), events, room=100)
    back = []
    while due := await claim(bus):
        back += due
        await bus.ack("db", keys(due))
    await bus.end_lot("db", lot)

    assert marks.returned == len(sent)
    assert sorted(ids(back)) == sorted(sent)
    assert all(delivery.is_returned for delivery in back)
    assert await closes(bus)


async def test_letters_of_all_shards_are_listed_once_newest_first_and_can_be_replayed_and_purged(
    bus: ShardedStreams, redis_url: str
) -> None:
    sent = await fill(bus)
    for delivery in await read(bus):
        await bus.dead_letter("db", "c", delivery.key, reason="permanent", detail="400")
    shards = shards_at([redis_url], count=1)
    letters = ShardedLetters(shards)

    pages, before = [], ""
    while True:
        page = await letters.letters("db", before=before, limit=5)
        pages.append(page.letters)
        before = page.next
        if not before:
            break
    listed = [letter for page in pages for letter in page]

    assert {len(page) for page in pages[:-1]} == {5}
    died_ms = [int(letter.id.rpartition(":")[2].partition("-")[0]) for letter in listed]
    assert died_ms == sorted(died_ms, reverse=True)
    assert len({letter.id for letter in listed}) == len({letter.event_id for letter in listed}) == len(sent)
    opened = await letters.letter("db", listed[0].id)
    assert opened is not None
    assert (opened.letter, opened.payload) == (listed[0], b"payload")
    assert await letters.replay_letters("db", [letter.id for letter in listed[:8]]) == 8
    assert await letters.purge_letters("db", [letter.id for letter in listed[8:]]) == len(sent) - 8
    again = []
    while due := await claim(bus, 60_000):
        again += due
        await bus.ack("db", keys(due))
    assert len(again) == 8
    assert await closes(bus)
    assert (await letters.letters("db")).letters == ()
    assert await letters.letter("db", "7:1-1") is None
    await shards.close()


@pytest.mark.parametrize("away", [0, 1])
async def test_while_one_shard_is_away_the_others_deliver_and_then_it_does(
    away: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "_PAUSE_S", 0.05)
    servers = [RedisServer(next(reversed(binaries().values())), "--appendonly", "yes") for _ in range(2)]
    try:
        async with bus_at(*(server.url for server in servers), count=2) as bus:
            sent = await fill(bus)
            servers[away].kill()
            got = await read(bus)
            assert len(got) == 2 * sum(int.from_bytes(spool) % 2 != away for spool in SPOOLS)
            await bus.ack("db", keys(got))

            with pytest.raises(BusUnavailable):
                await bus.stats()
            servers[away].start()

            async def rest() -> bool:
                got.extend(await read(bus))
                return len(got) >= len(sent)

            await eventually_async(rest)
            assert sorted(ids(got)) == sorted(sent)
    finally:
        for server in servers:
            server.remove()


async def test_with_all_shards_away_it_is_said(own_redis: RedisServer) -> None:
    async with bus_at(own_redis.url) as bus:
        await fill(bus)
        own_redis.kill()

        with pytest.raises(BusUnavailable):
            await read(bus)
        with pytest.raises(BusUnavailable):
            await claim(bus)
        own_redis.start()
