"""Parking lots on both buses: what is parked is counted once, comes back once and in order, and the sum holds."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bus.bus import Delivery, Entry, GroupStats
from bus.errors import BusUnavailable
from bus.lots import LotMarks, LotPlace, Parked
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.sqlite_log import SqliteLog
from config.secret import Secret
from tests.support.redis_server import RedisServer, binaries

LOT = b"lot-one---------"
SPOOL = b"spool-one-------"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, RedisServer]]:
    """By program; started when first asked for."""
    running: dict[str, RedisServer] = {}
    yield running
    for server in running.values():
        server.remove()


@pytest.fixture(params=["embedded", "redis", "valkey"])
async def bus(
    request: pytest.FixtureRequest, tmp_path: Path, servers: dict[str, RedisServer]
) -> AsyncIterator[SqliteLog | RedisStreams]:
    opened: SqliteLog | RedisStreams
    if request.param == "embedded":
        opened = await SqliteLog.open(tmp_path / "bus.db")
    elif program := binaries().get(request.param):
        if request.param not in servers:
            servers[request.param] = RedisServer(program)
        servers[request.param].client().flushall()
        opened = RedisStreams(RedisLink(Secret(servers[request.param].url)), "lots", min_idle_ms=50)
    else:
        pytest.skip(f"no {request.param} server here")
    await opened.ensure_groups(["db", "other"])
    yield opened
    await opened.close()


def event_ids(*numbers: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in numbers]


async def parked(bus: SqliteLog | RedisStreams, count: int, taken: int | None = None) -> list[Parked]:
    """So many events, of which the lot holds all; `taken` of them were acknowledged before somebody died."""
    await bus.append(SPOOL, 1, 0, [Entry(i, b"<" + i + b">") for i in event_ids(*range(count))])
    new = await bus.read("db", "c1", max_entries=100, max_bytes=10**6, block_ms=0)
    await bus.unpark("db", LOT, LotPlace(holds=count))
    await bus.park("db", [delivery.key for delivery in new[:taken]])
    return [Parked(delivery.event_id, delivery.payload, 1000) for delivery in new]


async def group(bus: SqliteLog | RedisStreams) -> GroupStats:
    stats = await bus.stats()
    found = next(group for group in stats.groups if group.name == "db")
    known = found.delivered + found.dead + found.pending + found.lag + found.purged + found.earlier
    assert known + found.parked + found.lost == stats.appended
    return found


async def claimed(bus: SqliteLog | RedisStreams, consumer: str = "c1", idle_ms: int = 60_000) -> list[Delivery]:
    return await bus.claim("db", consumer, min_idle_ms=idle_ms, max_entries=100)


async def test_what_is_parked_is_off_the_stream_and_neither_delivered_nor_pending(
    bus: SqliteLog | RedisStreams,
) -> None:
    await parked(bus, 5)

    found = await group(bus)

    assert (found.parked, found.earlier, found.pending, found.lag, found.delivered) == (5, 0, 0, 0, 0)
    assert await claimed(bus, idle_ms=0) == []


async def test_it_comes_back_to_its_own_group_in_order_and_is_delivered_or_buried(
    bus: SqliteLog | RedisStreams,
) -> None:
    events = await parked(bus, 5)

    marks = await bus.unpark("db", LOT, LotPlace(5, 0, 0), events[:3], room=10)
    first = await claimed(bus)
    marks = await bus.unpark("db", LOT, LotPlace(5, 0, marks.returned), events[3:], room=10)
    second = await claimed(bus)
    await bus.ack("db", [delivery.key for delivery in first[:2]])
    is_buried = await bus.dead_letter("db", "c1", first[2].key, reason="permanent", detail="no")
    open_ones = await bus.unpark("db", LOT, LotPlace(5, 0, 5))
    await bus.ack("db", [delivery.key for delivery in second])
    done = await bus.unpark("db", LOT, LotPlace(5, 3, 5))
    found = await group(bus)

    assert [d.event_id for d in first + second] == event_ids(0, 1, 2, 3, 4)
    assert [d.payload for d in first + second] == [event.payload for event in events]
    assert {d.is_returned for d in first + second} == {True}
    assert is_buried
    assert (marks.returned, open_ones, done) == (5, LotMarks(5, 5, 3), LotMarks(5, 5, 5))
    assert (found.delivered, found.dead, found.parked, found.pending, found.earlier) == (4, 1, 0, 0, 0)
    assert await bus.claim("other", "c1", min_idle_ms=0, max_entries=10) == []


async def test_saying_it_again_changes_nothing(bus: SqliteLog | RedisStreams) -> None:
    events = await parked(bus, 4)

    for _ in range(3):
        await bus.unpark("db", LOT, LotPlace(4))
        await bus.unpark("db", LOT, LotPlace(4, 0, 0), events, room=10)

    assert [delivery.event_id for delivery in await claimed(bus)] == event_ids(0, 1, 2, 3)
    assert await claimed(bus) == []
    assert (await group(bus)).pending == 4


async def test_no_more_come_back_than_there_is_room_for(bus: SqliteLog | RedisStreams) -> None:
    events = await parked(bus, 6)

    full = await bus.unpark("db", LOT, LotPlace(6), events, room=2)
    still = await bus.unpark("db", LOT, LotPlace(6, 0, 2), events[2:], room=2)
    await bus.ack("db", [delivery.key for delivery in await claimed(bus)])
    again = await bus.unpark("db", LOT, LotPlace(6, 2, 2), events[2:], room=3)

    assert (full, still, again) == (LotMarks(6, 2, 0), LotMarks(6, 2, 0), LotMarks(6, 5, 2))


async def test_one_that_was_parked_but_not_acknowledged_goes_out_twice_and_the_sum_holds(
    bus: SqliteLog | RedisStreams,
) -> None:
    events = await parked(bus, 3, taken=1)
    torn = await group(bus)

    await bus.unpark("db", LOT, LotPlace(3), events, room=10)
    again: list[Delivery] = []
    while due := await claimed(bus, "c2", idle_ms=0):
        await bus.ack("db", [delivery.key for delivery in due])
        again += due
    found = await group(bus)

    assert (torn.parked, torn.pending, torn.earlier) == (3, 2, -2)
    assert sorted({delivery.event_id for delivery in again}) == event_ids(0, 1, 2)
    assert (found.delivered, found.earlier, found.parked, found.pending) == (5, -2, 0, 0)


async def test_what_damage_took_is_counted_as_lost(bus: SqliteLog | RedisStreams) -> None:
    events = await parked(bus, 3)
    events[1] = Parked(bytes(16), b"", 0)

    marks = await bus.unpark("db", LOT, LotPlace(3), events, room=10)
    came = await claimed(bus)

    assert ([delivery.event_id for delivery in came], marks.returned) == (event_ids(0, 2), 3)
    assert ((await group(bus)).lost, (await group(bus)).parked) == (1, 0)


async def test_a_bus_that_has_lost_the_lot_gets_again_what_is_not_settled(bus: SqliteLog | RedisStreams) -> None:
    events = [Parked(i, b"<" + i + b">", 1000) for i in event_ids(*range(6))]

    told = await bus.unpark("db", LOT, LotPlace(holds=6, settled=2, next=5), events[5:], room=10)
    came = await bus.unpark("db", LOT, LotPlace(6, 2, told.returned), events[2:], room=10)
    back = [delivery.event_id for delivery in await claimed(bus)]
    found = await group(bus)

    assert (told, came.returned, back) == (LotMarks(6, 2, 2), 6, event_ids(2, 3, 4, 5))
    assert (found.parked, found.pending, found.earlier) == (0, 4, -4)


async def test_what_is_owed_for_one_that_came_back_is_settled_though_the_server_has_lost_it(redis_url: str) -> None:
    bus = RedisStreams(RedisLink(Secret(redis_url)), "lots", min_idle_ms=50)
    await bus.ensure_groups(["db"])
    events = await parked(bus, 1)
    await bus.unpark("db", LOT, LotPlace(1), events, room=1)
    (one,) = await claimed(bus)
    await bus._link.call("FLUSHALL")

    with pytest.raises(BusUnavailable):
        await bus.retry_in("db", "c1", [one.key], 10)
    await bus.retry_in("db", "c1", [one.key], 10)
    await bus.close()


async def test_a_parked_letter_can_be_replayed_and_a_lot_be_forgotten(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "bus.db")
    await log.ensure_groups(["db"])
    events = await parked(log, 2)
    await log.unpark("db", LOT, LotPlace(2), events, room=10)
    key = (await claimed(log))[0].key
    await log.dead_letter("db", "c1", key, reason="permanent", detail="")
    (letter,) = (await log.letters("db")).letters

    await log.replay_letters("db", [letter.id])
    again = await claimed(log)
    settled = await log.unpark("db", LOT, LotPlace(2, 0, 2))
    await log.forget_group("db")
    await log.ensure_groups(["db"])
    await log.close()

    assert ([delivery.event_id for delivery in again], letter.first_ms) == (event_ids(0), 1000)
    assert settled == LotMarks(2, 2, 1)
