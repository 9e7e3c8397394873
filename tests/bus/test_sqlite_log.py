"""The embedded log on a real file: fencing, leases, dead letters, trimming, and what it says about bad files."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.bus import AppendStatus, Delivery, Entry, GroupStats
from bus.errors import BusError, BusUnavailable
from bus.sqlite_log import SqliteLog

SPOOL = b"spool-one-------"
OTHER = b"spool-two-------"


class HeldClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ns(self) -> int:
        return self.ms * 1_000_000


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
async def log(tmp_path: Path, clock: HeldClock) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "bus.db", clock)
    await opened.ensure_groups(["db", "file"])
    yield opened
    await opened.close()


def entries(first: int, count: int, size: int = 10) -> list[Entry]:
    return [Entry(f"event-{n:010d}".encode(), bytes([n % 256]) * size) for n in range(first, first + count)]


async def read(log: SqliteLog, group: str = "db", consumer: str = "c1", count: int = 100) -> list[Delivery]:
    return await log.read(group, consumer, max_entries=count, max_bytes=1 << 20, block_ms=0)


async def claim(log: SqliteLog, group: str = "db", consumer: str = "c2", idle_ms: int = 1000) -> list[Delivery]:
    return await log.claim(group, consumer, min_idle_ms=idle_ms, max_entries=100)


def keys(deliveries: list[Delivery]) -> list[str]:
    return [delivery.key for delivery in deliveries]


async def test_every_group_gets_every_entry_in_order(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 3))

    for group in ("db", "file"):
        got = await read(log, group)
        assert [d.event_id for d in got] == [e.event_id for e in entries(0, 3)]
        assert [d.payload for d in got] == [e.payload for e in entries(0, 3)]


async def test_a_resend_adds_only_what_is_new(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 3))

    again = await log.append(SPOOL, 1, 1, entries(1, 4))

    assert (again.status, again.added, again.high_water) == (AppendStatus.OK, 2, 4)
    assert [d.event_id for d in await read(log)] == [e.event_id for e in entries(0, 5)]


async def test_a_resend_of_old_entries_adds_nothing_and_keeps_the_high_water(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 5))

    again = await log.append(SPOOL, 1, 0, entries(0, 2))

    assert (again.status, again.added, again.high_water) == (AppendStatus.OK, 0, 4)


async def test_a_hole_is_answered_with_where_to_go_on(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 3))

    result = await log.append(SPOOL, 1, 5, entries(5, 1))

    assert (result.status, result.high_water) == (AppendStatus.GAP, 2)
    assert len(await read(log)) == 3


async def test_an_older_epoch_is_fenced_even_after_an_empty_append(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    await log.append(SPOOL, 2, 0, [])

    zombie = await log.append(SPOOL, 1, 1, entries(1, 1))

    assert (zombie.status, zombie.epoch, zombie.high_water) == (AppendStatus.FENCED, 2, 0)
    assert len(await read(log)) == 1


async def test_an_empty_append_tells_the_high_water(log: SqliteLog) -> None:
    assert (await log.append(SPOOL, 1, 0, [])).high_water == -1
    await log.append(SPOOL, 1, 0, entries(0, 7))

    assert (await log.append(SPOOL, 1, 0, [])).high_water == 6


async def test_a_hole_moves_the_high_water_and_is_handed_to_nobody(log: SqliteLog) -> None:
    hole = [Entry(b"", b"")]
    result = await log.append(SPOOL, 1, 0, [*hole, *entries(1, 2), *hole, *hole, *entries(5, 1), *hole])

    assert (result.high_water, result.added) == (6, 3)
    got = await read(log)
    assert [d.event_id for d in got] == [e.event_id for e in [*entries(1, 2), *entries(5, 1)]]
    assert await log.delivered_through(SPOOL) == 0
    await log.ack("file", keys(await read(log, "file")))
    marks = []
    for delivery in got:
        await log.ack("db", [delivery.key])
        marks.append(await log.delivered_through(SPOOL))
    assert marks == [1, 4, 6]
    await log.trim()
    assert await log.delivered_through(SPOOL) == 6


async def test_a_spool_of_holes_only_is_delivered(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, [Entry(b"", b"")] * 3)

    assert await log.delivered_through(SPOOL) == 2


async def test_producers_and_entries_survive_reopening(tmp_path: Path, log: SqliteLog) -> None:
    await log.append(SPOOL, 3, 0, entries(0, 2))
    await log.close()

    again = await SqliteLog.open(tmp_path / "bus.db")

    assert (await again.append(SPOOL, 2, 2, entries(2, 1))).status is AppendStatus.FENCED
    assert (await again.append(SPOOL, 3, 2, entries(2, 1))).high_water == 2
    assert len(await read(again)) == 3
    await again.close()


async def test_a_new_group_begins_at_the_oldest_entry_that_is_there(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 2))
    await log.ensure_groups(["late", "db"])

    assert len(await read(log, "late")) == 2


async def test_a_read_is_bounded_by_bytes_but_gives_at_least_one(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 5, size=1000))

    first = await log.read("db", "c1", max_entries=10, max_bytes=10, block_ms=0)
    second = await log.read("db", "c1", max_entries=10, max_bytes=2500, block_ms=0)

    assert [len(first), len(second)] == [1, 2]


async def test_a_blocked_read_wakes_on_append(log: SqliteLog) -> None:
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(log.read("db", "c1", max_entries=10, max_bytes=1000, block_ms=60_000))
        await asyncio.sleep(0)
        await log.append(SPOOL, 1, 0, entries(0, 1))

    assert len(waiting.result()) == 1


async def test_a_read_returns_nothing_after_its_time(log: SqliteLog) -> None:
    assert await log.read("db", "c1", max_entries=10, max_bytes=1000, block_ms=20) == []


async def test_a_silent_consumers_entries_are_claimed_after_min_idle_only(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 2))
    await read(log)
    clock.ms += 999
    assert await claim(log) == []

    clock.ms += 1
    claimed = await claim(log)

    assert [(d.deliveries, d.crashes) for d in claimed] == [(2, 1), (2, 1)]


async def test_a_heartbeat_keeps_the_lease_and_tells_what_was_lost(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 2))
    mine = keys(await read(log))
    clock.ms += 900
    assert await log.extend("db", "c1", mine) == set(mine)
    clock.ms += 900
    assert await claim(log) == []
    clock.ms += 200
    await claim(log)

    assert await log.extend("db", "c1", mine) == set()


async def test_what_is_given_back_comes_again_when_it_is_due(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    await log.retry_in("db", "c1", keys(await read(log)), 300)
    clock.ms += 299
    assert await claim(log) == []

    clock.ms += 1
    again = await claim(log)

    assert [(d.deliveries, d.crashes) for d in again] == [(2, 0)]


async def test_only_the_owner_gives_back(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    mine = keys(await read(log))

    await log.retry_in("db", "stranger", mine, 0)

    assert await claim(log) == []


async def test_an_acknowledged_entry_never_comes_back(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 2))
    first, second = keys(await read(log))

    await log.ack("db", [first])
    await log.ack("db", [first])
    clock.ms += 10_000

    assert keys(await claim(log)) == [second]
    assert (await group(log, "db")).delivered == 1


async def test_a_suspect_is_handed_out_alone_and_its_company_is_spared(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 3))
    await read(log)
    for _ in range(2):
        clock.ms += 1000
        assert len(await claim(log)) == 3
    clock.ms += 1000

    alone = [await claim(log) for _ in range(4)]

    assert [[d.crashes for d in one] for one in alone] == [[3], [3], [3], []]


async def test_healthy_entries_go_before_suspects(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    suspect = keys(await read(log))
    for _ in range(2):
        clock.ms += 1000
        await claim(log)
    await log.append(SPOOL, 1, 1, entries(1, 1))
    healthy = keys(await read(log))
    clock.ms += 1000

    assert keys(await claim(log)) == healthy
    assert keys(await claim(log)) == suspect


async def test_reopening_frees_all_leases_at_once(tmp_path: Path, log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 2))
    await read(log)
    await log.close()

    again = await SqliteLog.open(tmp_path / "bus.db", clock)

    assert len(await claim(again, idle_ms=30_000)) == 2
    await again.close()


async def test_a_dead_letter_keeps_the_payload_and_leaves_the_group(tmp_path: Path, log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    (key,) = keys(await read(log))

    assert await log.dead_letter("db", "c1", key, reason="permanent", detail="no such project")

    stats = await group(log, "db")
    assert (stats.dead, stats.pending, stats.delivered) == (1, 0, 0)
    await log.close()
    with sqlite3.connect(tmp_path / "bus.db") as direct:
        rows = direct.execute("SELECT grp, event_id, reason, detail, deliveries, payload FROM dead_letters").fetchall()
    assert rows == [("db", b"event-0000000000", "permanent", "no such project", 1, b"\0" * 10)]


async def test_a_zombie_cannot_bury_what_another_has_taken_over(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    (key,) = keys(await read(log))
    clock.ms += 1000
    await claim(log)

    assert not await log.dead_letter("db", "c1", key, reason="permanent", detail="")
    assert (await group(log, "db")).pending == 1


async def test_trim_stops_below_the_slowest_group(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 10))
    await log.ack("db", keys(await read(log)))
    slow = keys(await read(log, "file"))
    await log.ack("file", slow[:3] + slow[5:])

    assert await log.trim() == 3

    await log.ack("file", slow[3:5])
    assert await log.trim() == 7
    assert (await log.stats()).entries == 0


async def test_trim_deletes_nothing_that_a_group_has_not_read(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 4))
    await log.ack("db", keys(await read(log)))

    assert await log.trim() == 0
    assert len(await read(log, "file")) == 4


async def test_a_log_without_groups_is_never_trimmed(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "bus.db")
    await log.append(SPOOL, 1, 0, entries(0, 4))

    assert await log.trim() == 0
    assert await log.delivered_through(SPOOL) == -1
    await log.close()


async def test_keys_are_never_used_twice_even_when_the_log_was_emptied(tmp_path: Path, log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 2))
    first = keys(await read(log)) + keys(await read(log, "file"))
    for name in ("db", "file"):
        await log.ack(name, first)
    await log.trim()
    await log.close()

    again = await SqliteLog.open(tmp_path / "bus.db")
    await again.append(SPOOL, 1, 2, entries(2, 1))

    assert not set(keys(await read(again))) & set(first)
    await again.close()


async def test_delivered_through_is_the_slowest_groups_word(log: SqliteLog) -> None:
    assert await log.delivered_through(SPOOL) == -1
    await log.append(SPOOL, 1, 0, entries(0, 3))
    await log.append(OTHER, 1, 0, entries(0, 3))
    await log.append(SPOOL, 1, 3, entries(3, 3))
    await log.ack("db", keys(await read(log)))
    slow = keys(await read(log, "file"))

    marks = [(await log.delivered_through(SPOOL), await log.delivered_through(OTHER))]
    for upto in (2, 5, 8, 9):
        await log.ack("file", slow[:upto])
        marks.append((await log.delivered_through(SPOOL), await log.delivered_through(OTHER)))
        await log.trim()
        assert marks[-1] == (await log.delivered_through(SPOOL), await log.delivered_through(OTHER))

    assert marks == [(-1, -1), (1, -1), (2, 1), (4, 2), (5, 2)]


async def test_a_retired_producer_is_forgotten(log: SqliteLog) -> None:
    await log.append(SPOOL, 5, 0, entries(0, 2))
    await log.retire(SPOOL)

    assert (await log.append(SPOOL, 1, 0, [])).high_water == -1
    assert len(await read(log)) == 2


async def test_the_ledger_closes_for_every_group(log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 9))
    first = keys(await read(log, count=6))
    await log.ack("db", first[:3])
    await log.dead_letter("db", "c1", first[3], reason="permanent", detail="")

    stats = await log.stats()

    for one in stats.groups:
        assert one.delivered + one.dead + one.pending + one.lag == stats.appended
    db = await group(log, "db")
    assert (db.delivered, db.dead, db.pending, db.lag) == (3, 1, 2, 3)


async def test_the_age_is_that_of_the_oldest_open_event(log: SqliteLog, clock: HeldClock) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))
    clock.ms += 500
    assert (await group(log, "db")).oldest_ms == 500

    await log.ack("db", keys(await read(log)))

    assert (await group(log, "db")).oldest_ms == 0


async def test_a_second_keeper_is_refused_and_told_who_runs(tmp_path: Path, log: SqliteLog) -> None:
    with pytest.raises(BusError, match=f"process {os.getpid()}"):
        await SqliteLog.open(tmp_path / "bus.db")


async def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    before = path.read_bytes()

    with pytest.raises(BusError, match="another program"):
        await SqliteLog.open(path)
    assert path.read_bytes() == before


async def test_a_damaged_file_gives_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    path.write_bytes(b"this is no database at all, only text " * 500)

    with pytest.raises(BusError, match="damaged or no event log") as caught:
        await SqliteLog.open(path)
    assert not isinstance(caught.value, BusUnavailable)


async def test_a_newer_format_is_refused(tmp_path: Path, log: SqliteLog) -> None:
    await log.close()
    with sqlite3.connect(tmp_path / "bus.db") as direct:
        direct.execute("PRAGMA user_version=99")
    direct.close()

    with pytest.raises(BusError, match="newer llm-proxy"):
        await SqliteLog.open(tmp_path / "bus.db")


async def test_a_file_that_another_program_holds_is_refused(tmp_path: Path, log: SqliteLog) -> None:
    await log.close()
    direct = sqlite3.connect(tmp_path / "bus.db", isolation_level=None)
    direct.execute("BEGIN IMMEDIATE")

    with pytest.raises(BusError, match="open in another program"):
        await SqliteLog.open(tmp_path / "bus.db")
    direct.close()


async def test_a_folder_that_cannot_be_made_gives_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")

    with pytest.raises(BusError, match="make the folder writable"):
        await SqliteLog.open(tmp_path / "plain" / "bus.db")


async def test_a_full_disk_is_told_and_healed_without_loss(tmp_path: Path, log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 5))
    await limit_pages(log, "now")

    with pytest.raises(BusUnavailable, match=r"disk under .* is full"):
        for start in range(5, 5000, 5):
            await log.append(SPOOL, 1, start, entries(start, 5, size=50_000))
    kept = (await log.append(SPOOL, 1, 0, [])).high_water
    await limit_pages(log, "4294967294")

    assert (await log.append(SPOOL, 1, kept + 1, entries(kept + 1, 1))).added == 1
    assert len(await read(log, count=10_000)) == kept + 2


async def test_the_files_are_for_the_owner_only(tmp_path: Path, log: SqliteLog) -> None:
    await log.append(SPOOL, 1, 0, entries(0, 1))

    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


async def test_after_close_it_says_so(log: SqliteLog) -> None:
    await log.close()
    await log.close()

    with pytest.raises(BusUnavailable, match="closed"):
        await log.append(SPOOL, 1, 0, entries(0, 1))


async def limit_pages(log: SqliteLog, pages: str) -> None:
    """SQLite's own full-disk answer, without filling a disk: the file may not grow beyond so many pages."""

    def limit(on: sqlite3.Connection) -> None:
        limit_at = on.execute("PRAGMA page_count").fetchone()[0] + 2 if pages == "now" else pages
        on.execute(f"PRAGMA max_page_count={limit_at}").fetchall()

    await log._on_thread(limit)


async def group(log: SqliteLog, name: str) -> GroupStats:
    return next(one for one in (await log.stats()).groups if one.name == name)
