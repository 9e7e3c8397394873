"""The bus on real Redis and Valkey: fencing, leases, dead letters, trimming, and servers that forget."""

import contextlib
import shutil
from collections.abc import AsyncIterator

import pytest

from bus.bus import AppendStatus, Delivery, Entry, GroupStats
from bus.errors import BusError, BusUnavailable
from bus.redis_link import RedisLink, check_server
from bus.redis_streams import RedisStreams
from config.secret import Secret
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually_async

SPOOL = b"spool-one-------"
OTHER = b"spool-two-------"
MIN_IDLE_MS = 200


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisStreams]:
    opened = RedisStreams(RedisLink(Secret(redis_url)), "test-events", min_idle_ms=MIN_IDLE_MS)
    await opened.ensure_groups(["db", "file"])
    yield opened
    await opened.close()


def entries(first: int, count: int, size: int = 10) -> list[Entry]:
    return [Entry(f"event-{n:010d}".encode(), bytes([n % 255 + 1]) * size) for n in range(first, first + count)]


async def read(bus: RedisStreams, group: str = "db", consumer: str = "c1", count: int = 100) -> list[Delivery]:
    return await bus.read(group, consumer, max_entries=count, max_bytes=1 << 20, block_ms=0)


async def claim(bus: RedisStreams, group: str = "db", consumer: str = "c2", idle_ms: int = 0) -> list[Delivery]:
    return await bus.claim(group, consumer, min_idle_ms=idle_ms, max_entries=100)


def keys(deliveries: list[Delivery]) -> list[str]:
    return [delivery.key for delivery in deliveries]


async def test_a_resend_adds_nothing_and_a_gap_and_an_older_epoch_are_told(bus: RedisStreams) -> None:
    first = await bus.append(SPOOL, 1, 0, entries(0, 5))
    again = await bus.append(SPOOL, 1, 0, entries(0, 8))
    gap = await bus.append(SPOOL, 1, 20, entries(20, 1))
    newer = await bus.append(SPOOL, 2, 8, entries(8, 1))
    zombie = await bus.append(SPOOL, 1, 9, entries(9, 1))

    assert (first.status, first.high_water, first.added) == (AppendStatus.OK, 4, 5)
    assert (again.high_water, again.added) == (7, 3)
    assert (gap.status, gap.high_water) == (AppendStatus.GAP, 7)
    assert (newer.status, newer.high_water) == (AppendStatus.OK, 8)
    assert (zombie.status, zombie.epoch) == (AppendStatus.FENCED, 2)
    assert len(await read(bus)) == 9


async def test_each_group_gets_everything_once_in_order(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 10))

    halves = [await read(bus, "db", "a", 4), await read(bus, "db", "b", 100)]
    other = await read(bus, "file")

    assert [d.event_id for half in halves for d in half] == [d.event_id for d in other]
    assert len(other) == 10
    assert {d.deliveries for d in other} == {1}


async def test_events_that_come_before_any_group_wait_for_it(redis_url: str) -> None:
    bus = RedisStreams(RedisLink(Secret(redis_url)), "early", min_idle_ms=MIN_IDLE_MS)

    assert (await bus.append(SPOOL, 1, 0, entries(0, 3))).added == 3
    assert await bus.trim() == 0
    assert await bus.delivered_through(SPOOL) == -1
    await bus.ensure_groups(["db"])

    assert len(await read(bus)) == 3
    await bus.close()


async def test_what_a_silent_consumer_holds_is_claimed_and_the_crash_is_counted(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 2))
    held = await read(bus)

    assert await claim(bus, idle_ms=60_000) == []
    claimed = await claim(bus)

    assert keys(claimed) == keys(held)
    assert {(d.deliveries, d.crashes) for d in claimed} == {(2, 1)}


async def test_a_retry_is_due_after_its_delay_and_is_no_crash(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 1))
    held = await read(bus)

    await bus.retry_in("db", "c1", keys(held), 100)

    assert await claim(bus, idle_ms=MIN_IDLE_MS) == []
    found: list[Delivery] = []

    async def is_due() -> bool:
        found.extend(await claim(bus, idle_ms=MIN_IDLE_MS))
        return bool(found)

    await eventually_async(is_due)
    assert (found[0].deliveries, found[0].crashes) == (2, 0)


async def test_a_heartbeat_keeps_only_what_is_still_ones_own(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 2))
    mine, taken = await read(bus)
    other = await bus.claim("db", "c2", min_idle_ms=0, max_entries=1)

    kept = await bus.extend("db", "c1", [mine.key, taken.key])

    assert kept == {mine.key, taken.key} - set(keys(other))


async def test_a_suspect_is_handed_out_alone_and_last(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 1))
    await read(bus)
    for _ in range(3):
        await claim(bus)
    await bus.append(SPOOL, 1, 1, entries(1, 2))
    await read(bus)

    healthy, suspect = await claim(bus), await claim(bus)

    assert [d.event_id for d in healthy] == [e.event_id for e in entries(1, 2)]
    assert len(suspect) == 2 or suspect[0].event_id == entries(0, 1)[0].event_id


async def test_only_the_owner_buries_and_the_letter_holds_the_event(bus: RedisStreams, redis_url: str) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 1))
    (held,) = await read(bus)
    (claimed,) = await claim(bus)

    by_zombie = await bus.dead_letter("db", "c1", held.key, reason="permanent", detail="no")
    by_owner = await bus.dead_letter("db", "c2", claimed.key, reason="permanent", detail="no")

    assert (by_zombie, by_owner) == (False, True)
    assert await claim(bus) == []
    stats = await bus.stats()
    assert next(g for g in stats.groups if g.name == "db").dead == 1


async def test_trim_keeps_what_any_group_has_not_acknowledged(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 200))
    db, file = await read(bus, "db", count=200), await read(bus, "file", count=200)
    await bus.ack("db", keys(db[:100]))
    await bus.ack("file", keys(file))

    await bus.trim()

    assert (await bus.stats()).entries >= 100
    assert len(await claim(bus, "db")) == 100


async def test_the_ledger_closes(bus: RedisStreams) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 10))
    held = await read(bus, count=6)
    await bus.ack("db", keys(held[:3]))
    await bus.dead_letter("db", "c1", held[3].key, reason="permanent", detail="")
    await bus.trim()

    stats = await bus.stats()

    group = next(g for g in stats.groups if g.name == "db")
    assert group == GroupStats("db", pending=2, lag=4, oldest_ms=group.oldest_ms, dead=1, delivered=3)
    assert stats.appended == 10 == group.pending + group.lag + group.dead + group.delivered


async def test_delivered_through_follows_the_slowest_group_and_holes_count_as_delivered(bus: RedisStreams) -> None:
    hole = Entry(b"0" * 16, b"")
    assert await bus.delivered_through(SPOOL) == -1
    await bus.append(SPOOL, 1, 0, entries(0, 3))
    await bus.append(OTHER, 1, 0, entries(10, 3))
    await bus.append(SPOOL, 1, 3, [*entries(3, 2), hole])

    db, file = await read(bus, "db"), await read(bus, "file")
    await bus.ack("db", keys(db))
    assert await bus.delivered_through(SPOOL) == -1
    await bus.ack("file", keys(file[:6]))
    assert await bus.delivered_through(SPOOL) == 2
    await bus.ack("file", keys(file[6:]))

    assert await bus.delivered_through(SPOOL) == 5
    await bus.trim()
    assert await bus.delivered_through(SPOOL) == 5


async def test_a_stream_that_vanished_is_made_again_with_its_groups_and_asks_for_everything(
    bus: RedisStreams, redis_url: str
) -> None:
    await bus.append(SPOOL, 1, 0, entries(0, 5))
    await bus._link.call("DEL", b"{test-events}:evt")

    answer = await bus.append(SPOOL, 1, 5, entries(5, 1))
    sent_again = await bus.append(SPOOL, 1, 0, entries(0, 6))

    assert (answer.status, answer.high_water) == (AppendStatus.GAP, -1)
    assert sent_again.added == 6
    assert len(await read(bus, "db")) == len(await read(bus, "file")) == 6


async def test_an_answer_that_was_lost_strands_nothing(own_redis: RedisServer) -> None:
    bus = RedisStreams(RedisLink(Secret(own_redis.url), answer_s=0.3, longest_block_s=0.1), "k", min_idle_ms=60_000)
    await bus.ensure_groups(["db"])
    bus._link._patient.connection_pool.connection_kwargs["socket_timeout"] = 0.3
    await bus.append(SPOOL, 1, 0, entries(0, 3))
    own_redis.freeze(is_frozen=True)

    with pytest.raises(BusUnavailable):
        await read(bus)
    own_redis.freeze(is_frozen=False)

    found: list[Delivery] = []

    async def got_all() -> bool:
        found.extend(await read(bus))
        return len(found) == 3

    await eventually_async(got_all)
    await bus.close()


async def test_an_acknowledgement_from_another_history_is_dropped(own_redis: RedisServer) -> None:
    bus = RedisStreams(RedisLink(Secret(own_redis.url)), "k", min_idle_ms=100)
    await bus.ensure_groups(["db"])
    await bus.append(SPOOL, 1, 0, entries(0, 1))
    (before,) = await read(bus)
    own_redis.kill()
    for path in own_redis.folder.iterdir():
        if path.name.startswith("appendonly"):
            shutil.rmtree(path)
    own_redis.start()

    with pytest.raises(BusUnavailable):  # the old connection is found to be dead
        await bus.append(SPOOL, 1, 1, entries(1, 1))
    await bus.append(SPOOL, 1, 0, entries(0, 1))
    await bus.ack("db", [before.key])

    assert len(await read(bus)) == 1
    await bus.close()


async def test_an_id_that_another_event_has_on_a_new_server_is_not_acknowledged(
    own_redis: RedisServer,
) -> None:
    bus, other = (RedisStreams(RedisLink(Secret(own_redis.url)), "k", min_idle_ms=100) for _ in range(2))
    await bus.ensure_groups(["db"])
    await bus.append(SPOOL, 1, 0, entries(0, 1))
    (before,) = await read(bus)
    own_redis.kill()
    shutil.rmtree(own_redis.folder / "appendonlydir")
    own_redis.start()
    await other.ensure_groups(["db"])
    same_id = before.key.partition("/")[2]
    await other._link.call("XADD", b"{k}:evt", same_id, "i", b"another-event---", "p", b"payload", "o", 1)
    assert len(await read(other, consumer="c2")) == 1

    for _ in range(2):  # the first finds the connection dead
        with contextlib.suppress(BusUnavailable):
            await bus.ack("db", [before.key])

    assert (await other.stats()).groups[0].pending == 1, "what another event of this id waited for was acknowledged"
    await bus.close()
    await other.close()


async def test_a_server_that_evicts_any_key_is_refused(redis_url: str) -> None:
    link = RedisLink(Secret(redis_url))
    try:
        assert "noeviction" in await check_server(link)
        await link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with pytest.raises(BusError, match="noeviction"):
            await check_server(link)
    finally:
        await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await link.close()


async def test_a_server_that_is_nearly_full_or_begins_to_evict_gets_nothing_more(redis_url: str) -> None:
    link = RedisLink(Secret(redis_url))
    bus = RedisStreams(link, "k", min_idle_ms=100)
    await bus.ensure_groups(["db"])
    try:
        used = int((await link.info("memory"))["used_memory"])
        await link.call("CONFIG", "SET", "maxmemory", int(used * 1.2))
        with pytest.raises(BusUnavailable, match="maxmemory"):
            await bus.append(SPOOL, 1, 0, entries(0, 1))
        await link.call("CONFIG", "SET", "maxmemory", 0)
        assert (await bus.append(SPOOL, 1, 0, entries(0, 1))).added == 1
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)
        await bus.close()
