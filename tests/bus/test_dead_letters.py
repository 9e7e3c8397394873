"""Dead letters of both buses on real files and servers: read, given back to their own group, purged, forgotten."""

import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from bus import sqlite_schema
from bus.bus import Bus, Delivery, Entry, GroupStats
from bus.codec import encode
from bus.dead_letters import DeadLetters, Letter, all_letters, readable_event
from bus.errors import BusError
from bus.event import Body, ExchangeFinished
from bus.inspection import BackendState, Inspection, serve_inspection
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.sqlite_log import SqliteLog
from config.secret import Secret
from tests.support.redis_server import RedisServer, binaries

SPOOL = b"spool-one-------"


class Case:
    """A bus, its dead letters, and how to open both again as another process would."""

    def __init__(self, bus: Bus, letters: DeadLetters, reopen: Callable[[], Any]) -> None:
        self.bus, self.letters, self.reopen = bus, letters, reopen

    async def group(self, name: str = "db") -> GroupStats:
        return next(group for group in (await self.bus.stats()).groups if group.name == name)

    async def ids(self, group: str = "db", reason: str = "") -> list[str]:
        return [letter.id for letter in (await self.letters.letters(group, reason=reason)).letters]


async def sqlite_case(path: Path) -> Case:
    log = await SqliteLog.open(path)
    await log.ensure_groups(["db", "file"])

    async def reopen() -> Case:
        await log.close()
        return await sqlite_case(path)

    return Case(log, log, reopen)


async def redis_case(url: str) -> Case:
    link = RedisLink(Secret(url))
    bus = RedisStreams(link, "test-events", min_idle_ms=200)
    await bus.ensure_groups(["db", "file"])

    async def reopen() -> Case:
        await bus.close()
        return await redis_case(url)

    return Case(bus, RedisLetters(link, "test-events"), reopen)


@pytest.fixture(scope="module")
def redis_servers() -> Iterator[dict[str, RedisServer]]:
    """By program; started when first asked for."""
    running: dict[str, RedisServer] = {}
    yield running
    for server in running.values():
        server.remove()


@pytest.fixture(params=["embedded", "redis", "valkey"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, redis_servers: dict[str, RedisServer]
) -> AsyncIterator[Case]:
    if request.param == "embedded":
        opened = await sqlite_case(tmp_path / "bus.db")
    elif program := binaries().get(request.param):
        if request.param not in redis_servers:
            redis_servers[request.param] = RedisServer(program)
        redis_servers[request.param].client().flushall()
        opened = await redis_case(redis_servers[request.param].url)
    else:
        pytest.skip(f"no {request.param} server here")
    yield opened
    await opened.bus.close()


def event_ids(count: int) -> list[bytes]:
    return [uuid.UUID(int=n + 1).bytes for n in range(count)]


async def append(case: Case, count: int, first: int = 0) -> None:
    entries = [Entry(event_id, b"<" + event_id + b">") for event_id in event_ids(first + count)[first:]]
    await case.bus.append(SPOOL, 1, first, entries)


async def read(case: Case, group: str = "db") -> list[Delivery]:
    return await case.bus.read(group, "c1", max_entries=1000, max_bytes=1 << 20, block_ms=0)


async def claim(case: Case, group: str = "db", consumer: str = "c1", idle_ms: int = 60_000) -> list[Delivery]:
    return await case.bus.claim(group, consumer, min_idle_ms=idle_ms, max_entries=1000)


async def bury(case: Case, count: int, reason: str = "permanent") -> None:
    """Appends events that the group `db` will never take."""
    before = (await case.bus.stats()).appended
    await append(case, count, before)
    for delivery in await read(case):
        assert await case.bus.dead_letter("db", "c1", delivery.key, reason=reason, detail="400: no")


async def closes(case: Case) -> bool:
    stats = await case.bus.stats()
    return all(stats.appended == g.delivered + g.dead + g.purged + g.earlier + g.pending + g.lag for g in stats.groups)


async def test_a_letter_tells_why_when_and_what(case: Case) -> None:
    await bury(case, 1)

    (letter,) = (await case.letters.letters("db")).letters
    opened = await case.letters.letter("db", letter.id)

    assert letter == Letter(
        letter.id, str(uuid.UUID(int=1)), "permanent", "400: no", 1, letter.first_ms, letter.last_ms, 18
    )
    assert 0 < letter.first_ms <= letter.last_ms
    assert opened is not None
    assert (opened.letter, opened.payload) == (letter, b"<" + event_ids(1)[0] + b">")
    for wrong in ("nonsense", "9" * 25 + "-1", "1-" + "9" * 25, "-", "1:2-3"):
        assert await case.letters.letter("db", wrong) is None
        assert await case.letters.purge_letters("db", [wrong]) == 0
        assert (await case.letters.letters("db", before=wrong)).letters == ()
    assert await case.letters.letter("file", letter.id) is None


async def test_pages_go_from_the_newest_to_the_oldest_and_miss_nothing(case: Case) -> None:
    await bury(case, 7)

    seen, before = [], ""
    while True:
        page = await case.letters.letters("db", before=before, limit=3)
        seen += [letter.event_id for letter in page.letters]
        before = page.next
        if not before:
            break

    assert seen == [str(uuid.UUID(int=n)) for n in range(7, 0, -1)]


async def test_only_those_of_a_reason_are_listed(case: Case) -> None:
    await bury(case, 2, "undecodable")
    await bury(case, 3, "permanent")

    pages = [page async for page in all_letters(case.letters, "db", "undecodable")]

    assert [letter.reason for page in pages for letter in page.letters] == ["undecodable"] * 2


async def test_a_replayed_event_comes_to_its_own_group_alone_with_its_own_id(case: Case) -> None:
    await bury(case, 2)
    assert len(await read(case, "file")) == 2

    assert await case.letters.replay_letters("db", await case.ids()) == 2
    again = await claim(case)

    assert sorted(d.event_id for d in again) == event_ids(2)
    assert {(d.payload[1:-1] == d.event_id, d.deliveries, d.crashes) for d in again} == {(True, 1, 0)}
    assert (await read(case, "file"), await claim(case, "file")) == ([], [])
    assert await case.ids() == []
    assert await closes(case)


async def test_what_was_replayed_is_delivered_once_and_leaves_nothing(case: Case) -> None:
    await bury(case, 2)
    entries_before = (await case.bus.stats()).entries
    await case.letters.replay_letters("db", await case.ids())
    again = await claim(case)

    await case.bus.ack("db", [d.key for d in again])
    await case.bus.ack("db", [d.key for d in again])

    group = await case.group()
    assert (group.delivered, group.dead, group.pending) == (2, 0, 0)
    assert (await case.bus.stats()).entries == entries_before
    assert await claim(case, idle_ms=0) == []
    assert await closes(case)


async def test_to_replay_a_letter_twice_gives_it_back_once(case: Case) -> None:
    await bury(case, 1)
    ids = await case.ids()

    assert [await case.letters.replay_letters("db", ids) for _ in range(2)] == [1, 0]
    assert await case.letters.purge_letters("db", ids) == 0

    assert len(await claim(case)) == 1
    assert await closes(case)


async def test_a_replayed_event_survives_the_death_of_whoever_took_it(case: Case) -> None:
    await bury(case, 1)
    await case.letters.replay_letters("db", await case.ids())
    (held,) = await claim(case, consumer="c1")

    assert await claim(case, consumer="c2") == []
    (claimed,) = await claim(case, consumer="c2", idle_ms=0)

    assert (claimed.key, claimed.deliveries, claimed.crashes) == (held.key, 2, 1)
    assert await case.bus.extend("db", "c1", [held.key]) == set()
    assert await case.bus.extend("db", "c2", [held.key]) == {held.key}


async def test_a_replayed_event_that_waits_survives_a_restart(case: Case) -> None:
    await bury(case, 3)
    await case.letters.replay_letters("db", await case.ids())

    reopened = await case.reopen()

    assert sorted(d.event_id for d in await claim(reopened)) == event_ids(3)
    await reopened.bus.close()


async def test_a_replayed_event_can_be_tried_again_and_buried_again(case: Case) -> None:
    await bury(case, 1)
    (first,) = (await case.letters.letters("db")).letters
    await case.letters.replay_letters("db", [first.id])
    (held,) = await claim(case)

    await case.bus.retry_in("db", "c1", [held.key], 0)
    (later,) = await claim(case, consumer="c2", idle_ms=200)
    assert not await case.bus.dead_letter("db", "c1", later.key, reason="permanent", detail="by a zombie")
    assert await case.bus.dead_letter("db", "c2", later.key, reason="permanent", detail="no again")

    (second,) = (await case.letters.letters("db")).letters
    assert (second.event_id, second.first_ms, second.detail) == (first.event_id, first.first_ms, "no again")
    assert second.id != first.id
    assert await claim(case, idle_ms=0) == []
    assert await closes(case)


async def test_replays_hold_back_neither_trimming_nor_the_spool(case: Case) -> None:
    await bury(case, 4)
    for delivery in await read(case, "file"):
        await case.bus.ack("file", [delivery.key])
    await case.letters.replay_letters("db", await case.ids())

    await case.bus.trim()

    assert await case.bus.delivered_through(SPOOL) == 3
    assert len(await claim(case)) == 4


async def test_what_is_purged_is_gone_and_counted(case: Case) -> None:
    await bury(case, 3)
    newest, *others = await case.ids()

    assert await case.letters.purge_letters("db", others) == 2

    group = await case.group()
    assert await case.ids() == [newest]
    assert (group.dead, group.purged) == (1, 2)
    assert await closes(case)


async def test_a_group_that_came_late_is_not_owed_what_was_gone(case: Case) -> None:
    await append(case, 300)  # Redis trims by whole nodes of about a hundred
    for name in ("db", "file"):
        await case.bus.ack(name, [delivery.key for delivery in await read(case, name)])
    await case.bus.trim()

    await case.bus.ensure_groups(["late"])
    await append(case, 2, 300)

    late = await case.group("late")
    assert late.earlier + late.lag == 302
    assert late.earlier >= 100
    assert late.lag >= 2
    assert await closes(case)


async def test_a_forgotten_group_pins_the_log_no_more(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.redis_letters.QUIET_MS", 0)
    await bury(case, 2)
    await case.letters.replay_letters("db", (await case.ids())[:1])
    await case.bus.ack("file", [delivery.key for delivery in await read(case, "file")])
    await append(case, 2, 2)
    await case.bus.ack("file", [delivery.key for delivery in await read(case, "file")])

    assert await case.letters.forget_group("db")
    assert not await case.letters.forget_group("db")

    stats = await case.bus.stats()
    assert [group.name for group in stats.groups] == ["file"]
    assert await case.ids() == []
    assert await case.bus.delivered_through(SPOOL) == 3


async def test_on_redis_nothing_of_what_was_replayed_is_left(redis_url: str) -> None:
    case = await redis_case(redis_url)
    await bury(case, 3)
    await case.letters.replay_letters("db", await case.ids())
    first, *others = await claim(case)

    assert await case.bus.dead_letter("db", "c1", first.key, reason="permanent", detail="no")
    await case.bus.ack("db", [delivery.key for delivery in others])

    assert redis.Redis.from_url(redis_url).xlen("{test-events}:again:db") == 0
    await case.bus.close()


async def test_a_group_at_work_is_not_forgotten_on_redis(redis_url: str) -> None:
    case = await redis_case(redis_url)
    await append(case, 1)
    await read(case)

    with pytest.raises(BusError, match="at work"):
        await case.letters.forget_group("db")

    assert (await case.group()).pending == 1
    await case.bus.close()


def test_bodies_are_shown_only_when_asked_for() -> None:
    event = ExchangeFinished(
        event_id=str(uuid.UUID(int=1)),
        request_id="r",
        accepted_at_ms=1,
        method="POST",
        path="/v1/x",
        status=200,
        request_body=Body(data=b"what was said", content_type="application/json"),
        response_body=Body(data=b"\xff\xfe", content_encoding="br"),
    )

    outline, whole = (readable_event(encode(event), with_bodies=asked) for asked in (False, True))

    assert "what was said" not in str(outline)
    assert outline["request_body"]["bytes"] == 13
    assert whole["request_body"]["text"] == "what was said"
    assert whole["response_body"]["base64"] == "//4="
    assert "undecodable" in readable_event(b"\xc1", with_bodies=True)


async def test_a_log_of_the_older_format_is_upgraded_and_its_ledger_closes(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bus.db")) as older:
        older.executescript(sqlite_schema._TABLES)
        older.execute(f"PRAGMA application_id={sqlite_schema.APPLICATION_ID}")
        older.execute("PRAGMA user_version=1")
        older.executescript(
            "UPDATE log SET last_seq = 9; INSERT INTO groups VALUES ('db', 8, 3, 1);"
            "INSERT INTO events VALUES (7, x'01', 5, x'02'), (8, x'03', 6, x'04'), (9, x'05', 7, x'06');"
            "INSERT INTO leases VALUES ('db', 7, 'c1', 1, 0, 1, 1);"
            "INSERT INTO dead_letters VALUES ('db', 6, x'07', 'permanent', 'no', 1, 4, 5, x'08')"
        )

    case = await sqlite_case(tmp_path / "bus.db")

    group = await case.group()
    assert group == GroupStats("db", 1, 2, group.oldest_ms, 1, 3, 0, 2)
    assert await case.letters.replay_letters("db", await case.ids()) == 1
    assert sorted(d.event_id for d in await claim(case, idle_ms=0)) == [b"\x01", b"\x07"]
    assert await closes(case)
    await case.bus.close()


async def test_the_keeper_is_asked_for_the_letters_of_its_log(tmp_path: Path) -> None:
    case = await sqlite_case(tmp_path / "bus.db")
    await bury(case, 300)
    running = [BackendState("db", "delivering")]

    async with serve_inspection(tmp_path / "keeper.sock", case.bus, backends=lambda: running):
        desk = Inspection(tmp_path / "keeper.sock")
        pages = [page async for page in all_letters(desk, "db")]
        newest = pages[0].letters[0]
        opened = await desk.letter("db", newest.id)
        replayed = await desk.replay_letters("db", [newest.id])
        purged = await desk.purge_letters("db", [letter.id for letter in pages[1].letters])
        with pytest.raises(BusError, match="at work"):
            await desk.forget_group("db")
        assert await desk.forget_group("file")

    assert [len(page.letters) for page in pages] == [200, 100]
    assert opened is not None
    assert (opened.letter, opened.payload) == (newest, b"<" + event_ids(300)[-1] + b">")
    assert (replayed, purged, (await case.group()).dead) == (1, 100, 199)
    await case.bus.close()
