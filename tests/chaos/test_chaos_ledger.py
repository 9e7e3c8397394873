"""The harness's own reading of both buses: it must close where letters are replayed or purged, and see what is open."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from bus.bus import Bus, Entry
from bus.checkpoint import TOTALS, Totals
from bus.dead_letters import DeadLetters
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.slots import Slots
from bus.sqlite_log import SqliteLog
from config.ids import new_id
from config.secret import Secret
from tests.chaos.ledger import Ledger, read_embedded, read_redis
from tests.support.redis_server import RedisServer, binaries

SPOOL = b"spool-one-------"
Read = Callable[[], Ledger]


@pytest.fixture(params=["embedded", "redis"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Bus, DeadLetters, Read]]:
    (tmp_path / "spool").mkdir()
    slots = Slots.open(tmp_path / "spool" / TOTALS, Totals)
    slots.write(Totals(recorded=4), durable=False)
    slots.close()
    if request.param == "embedded":
        log = await SqliteLog.open(tmp_path / "bus.db")
        yield log, log, lambda: read_embedded(_copy(tmp_path))
        await log.close()
        return
    server = RedisServer(next(reversed(binaries().values())))
    link = RedisLink(Secret(server.url))
    bus, client = RedisStreams(link, "events", min_idle_ms=200), redis.Redis.from_url(server.url)
    yield bus, RedisLetters(link, "events"), lambda: read_redis(tmp_path, client, "events", forgets=False)
    await bus.close()
    server.remove()


def _copy(data: Path) -> Path:
    """The keeper lets nobody else open its log."""
    shutil.rmtree(data / "copy", ignore_errors=True)
    shutil.copytree(data, data / "copy", ignore=shutil.ignore_patterns("copy"))
    return data / "copy"


async def test_replayed_letters_are_open_and_purged_ones_are_counted(case: tuple[Bus, DeadLetters, Read]) -> None:
    bus, letters, read = case
    await bus.ensure_groups(["db"])
    await bus.append(SPOOL, 1, 0, [Entry(bytes.fromhex(new_id().replace("-", "")), b"payload") for _ in range(4)])
    batch = await bus.read("db", "c", max_entries=4, max_bytes=10**6, block_ms=0)
    await bus.ack("db", [batch[0].key])
    for delivery in batch[1:]:
        await bus.dead_letter("db", "c", delivery.key, reason="refused", detail="")
    ids = [letter.id for letter in (await letters.letters("db")).letters]

    await letters.replay_letters("db", ids[:1])
    await letters.purge_letters("db", ids[1:2])
    opened = read()
    await bus.ack("db", [one.key for one in await bus.claim("db", "c", min_idle_ms=0, max_entries=9)])
    closed = read()

    assert [problem for problem in opened.problems() if "(1 pending, 0 parked)" in problem]
    assert (opened.open, opened.purged, len(opened.dead["db"])) == ({"db": 1}, {"db": 1}, 1)
    assert list(closed.problems()) == []
    assert closed.delivered == {"db": 2}


async def test_what_was_gone_before_a_group_was_made_is_counted(case: tuple[Bus, DeadLetters, Read]) -> None:
    bus, _, read = case
    await bus.ensure_groups(["db"])
    await bus.append(SPOOL, 1, 0, [Entry(bytes.fromhex(new_id().replace("-", "")), b"payload") for _ in range(4)])
    batch = await bus.read("db", "c", max_entries=4, max_bytes=10**6, block_ms=0)
    await bus.ack("db", [delivery.key for delivery in batch])
    while await bus.trim():
        pass
    await bus.ensure_groups(["late"])

    ledger = read()

    assert ledger.earlier["db"] == 0
    assert ledger.earlier["late"] == 4 - ledger.open["late"]
    assert not any("late" in problem for problem in ledger.problems() if "(0 pending)" in problem)
