"""Large events on Redis: the stream has a reference, a shared folder the payload; whatever happens to it is told."""

import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from bus.bus import Bus, Delivery, Entry, GroupStats
from bus.claims import ClaimFolder
from bus.errors import BusUnavailable
from bus.redis_bus import open_redis
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.redis_streams import RedisStreams
from config.clock import SystemClock
from config.secret import Secret
from config.settings import Settings
from tests.support.redis_server import RedisServer
from tests.support.small_disk import small_disk
from tests.support.waiting import eventually_async

SPOOL = b"spool-one-------"
ABOVE = 1000
LARGE = 20_000
DAY_MS = 86_400_000


def payloads_at(folder: Path | None, above: int = ABOVE) -> Payloads:
    return Payloads(ClaimFolder(folder, "async") if folder else None, above=above, timeout_s=60)


@asynccontextmanager
async def bus_at(url: str, folder: Path | None, above: int = ABOVE) -> AsyncIterator[RedisStreams]:
    bus = RedisStreams(RedisLink(Secret(url)), "k", min_idle_ms=100, payloads=payloads_at(folder, above))
    await bus.ensure_groups(["db", "file"])
    yield bus
    await bus.close()


@pytest.fixture
async def bus(redis_url: str, tmp_path: Path) -> AsyncIterator[RedisStreams]:
    async with bus_at(redis_url, tmp_path / "claims") as opened:
        yield opened


@pytest.fixture
async def letters(redis_url: str) -> AsyncIterator[RedisLetters]:
    """As a process that has no folder opens them."""
    link = RedisLink(Secret(redis_url))
    yield RedisLetters(link, "k")
    await link.close()


def client(url: str) -> Any:
    return redis.Redis.from_url(url)


def large(first: int, count: int, size: int = LARGE) -> list[Entry]:
    return [Entry(f"event-{n:010d}".encode(), os.urandom(size)) for n in range(first, first + count)]


async def read(bus: Bus, max_bytes: int = 1 << 30, group: str = "db") -> list[Delivery]:
    return await bus.read(group, "c", max_entries=1000, max_bytes=max_bytes, block_ms=0)


async def claim(bus: Bus, group: str = "db") -> list[Delivery]:
    return await bus.claim(group, "c", min_idle_ms=0, max_entries=1000)


async def of_db(bus: Bus) -> GroupStats:
    return next(group for group in (await bus.stats()).groups if group.name == "db")


async def closes(bus: Bus) -> bool:
    stats = await bus.stats()
    return all(stats.appended == g.delivered + g.dead + g.purged + g.earlier + g.pending + g.lag for g in stats.groups)


def claims_in(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "claims").glob("*/*/*") if path.is_file()]


async def test_a_large_event_lies_in_the_folder_and_any_process_reads_it(
    bus: RedisStreams, redis_url: str, tmp_path: Path
) -> None:
    sent = [*large(0, 2), Entry(b"small", b"s" * ABOVE), Entry(b"well compressed", b"s" * LARGE)]
    await bus.append(SPOOL, 1, 0, sent)

    async with bus_at(redis_url, tmp_path / "claims") as other:
        got = await read(other)

    assert [(one.event_id, one.payload) for one in got] == [(one.event_id, one.payload) for one in sent]
    assert {path.name for path in claims_in(tmp_path)} == {entry.event_id.hex() for entry in sent[:2]}
    in_redis = [set(fields) for _, fields in client(redis_url).xrange("{k}:evt")]
    assert in_redis == [{b"i", b"o", b"n", b"r"}] * 2 + [{b"i", b"o", b"p"}, {b"i", b"o", b"n", b"z"}]


@pytest.mark.slow
async def test_two_hundred_bodies_of_a_megabyte_take_next_to_nothing_of_redis(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    async with bus_at(own_redis.url, tmp_path / "claims") as bus:
        before = own_redis.client().info("memory")["used_memory"]
        for n in range(200):
            await bus.append(SPOOL, 1, n, large(n, 1, 1024**2))
        taken = own_redis.client().info("memory")["used_memory"] - before
        got = await read(bus, 8 * 1024**2)

    assert taken < 1024**2
    assert sum(len(one.payload) for one in got) <= 8 * 1024**2


async def test_a_read_counts_what_is_claimed_at_its_real_size_and_the_rest_is_as_new(bus: RedisStreams) -> None:
    sent = large(0, 10)
    await bus.append(SPOOL, 1, 0, sent)

    got = await read(bus, 3 * LARGE)
    await bus.ack("db", [one.key for one in got])
    assert len(got) == 3
    while more := await claim(bus):
        await bus.ack("db", [one.key for one in more])
        got += more

    assert sorted(one.payload for one in got) == sorted(entry.payload for entry in sent)
    assert {(one.deliveries, one.crashes) for one in got[3:]} == {(1, 0)}


async def test_large_events_wait_for_a_folder_that_is_away_and_small_ones_do_not(
    bus: RedisStreams, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await bus.append(SPOOL, 1, 0, [*large(0, 2), Entry(b"small", b"s")])
    (tmp_path / "claims").rename(tmp_path / "away")

    with caplog.at_level(logging.INFO):
        assert [one.event_id for one in await read(bus)] == [b"small"]
        for _ in range(5):
            assert [one.event_id for one in await claim(bus)] in ([], [b"small"])
        (tmp_path / "away").rename(tmp_path / "claims")
        back = await claim(bus)

    assert {one.event_id for one in back} >= {entry.event_id for entry in large(0, 2)}
    assert [r.getMessage() for r in caplog.records] == [
        "large events wait for their folder",
        "the folder of large events is back",
    ]
    assert (await of_db(bus)).dead == 0


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"x" * file.stat().st_size)])
async def test_a_payload_that_is_gone_is_buried_with_its_own_reason_and_the_others_arrive(
    bus: RedisStreams, letters: RedisLetters, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    sent = large(0, 3)
    await bus.append(SPOOL, 1, 0, sent)
    damage(next(path for path in claims_in(tmp_path) if path.name == sent[1].event_id.hex()))

    arrived = await read(bus)
    await bus.ack("db", [one.key for one in arrived])
    looks = 0
    while not (await of_db(bus)).dead:
        looks += 1
        assert await claim(bus) == []

    assert [one.event_id for one in arrived] == [sent[0].event_id, sent[2].event_id]
    assert looks == 2, "a folder on a network may show a file late"
    (letter,) = (await letters.letters("db", reason="claim_lost")).letters
    assert letter.bytes == LARGE
    opened = await letters.letter("db", letter.id)
    assert opened is not None
    assert opened.payload == b""
    assert await closes(bus)


async def test_a_dead_letter_has_a_copy_and_can_be_replayed_when_the_folder_is_gone(
    bus: RedisStreams, letters: RedisLetters, tmp_path: Path
) -> None:
    (sent,) = large(0, 1)
    await bus.append(SPOOL, 1, 0, [sent])
    (one,) = await read(bus)
    assert await bus.dead_letter("db", "c", one.key, reason="permanent", detail="400")
    shutil.rmtree(tmp_path / "claims")

    (letter,) = (await letters.letters("db")).letters
    opened = await letters.letter("db", letter.id)
    assert await letters.replay_letters("db", [letter.id]) == 1
    (again,) = await claim(bus)

    assert letter.bytes == LARGE
    assert opened is not None
    assert opened.payload == again.payload == sent.payload
    assert await bus.dead_letter("db", "c", again.key, reason="permanent", detail="400 again")
    assert (await letters.letters("db")).letters[0].bytes == LARGE
    assert await closes(bus)


async def test_a_letter_is_not_written_without_its_payload_while_that_may_come_back(
    bus: RedisStreams, letters: RedisLetters, tmp_path: Path
) -> None:
    await bus.append(SPOOL, 1, 0, large(0, 1))
    (one,) = await read(bus)
    (tmp_path / "claims").rename(tmp_path / "away")

    with pytest.raises(BusUnavailable):
        await bus.dead_letter("db", "c", one.key, reason="permanent", detail="400")

    assert (await letters.letters("db")).letters == ()
    (tmp_path / "away").rename(tmp_path / "claims")
    assert await bus.dead_letter("db", "c", one.key, reason="permanent", detail="400")


async def test_a_folder_that_cannot_be_written_costs_memory_and_nothing_else(
    bus: RedisStreams, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "claims").write_text("a file lies where the folder should be")
    sent = large(0, 3)

    await bus.append(SPOOL, 1, 0, sent)
    (tmp_path / "claims").unlink()
    late = large(3, 1)
    await bus.append(SPOOL, 1, 3, late)

    assert [one.payload for one in await read(bus)] == [entry.payload for entry in sent + late]
    assert [r.getMessage() for r in caplog.records] == [
        "large events go to Redis whole, since their folder cannot be written"
    ]
    assert len(claims_in(tmp_path)) == 1
    stats = await bus.stats()
    assert (stats.claimed, stats.unclaimed) == (1, 3)


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Path]:
    """Soon, at least."""
    with small_disk(tmp_path / "claims", "64k") as folder:
        yield folder


async def test_on_a_full_disk_what_finds_no_room_goes_to_redis(full_folder: Path, bus: RedisStreams) -> None:
    sent = large(0, 6)

    await bus.append(SPOOL, 1, 0, sent)

    stats = await bus.stats()
    assert stats.claimed > 0
    assert stats.unclaimed > 0
    assert [one.payload for one in await read(bus)] == [entry.payload for entry in sent]
    assert len([path for path in full_folder.glob("*/*/*") if path.is_file()]) == stats.claimed


@pytest.mark.parametrize(("above", "claimed"), [(ABOVE, 1), (LARGE * 2, 0), (0, 0)])
async def test_the_settings_name_the_folder_and_the_bound(
    redis_url: str, tmp_path: Path, above: int, claimed: int
) -> None:
    folder = str(tmp_path / "claims")
    settings = Settings(
        redis_url=Secret(redis_url), claim_check_dir=folder, claim_check_bytes=above, redis_timeout_ms=60_000
    )
    bus = open_redis(settings)

    await bus.append(SPOOL, 1, 0, large(0, 1))

    assert (await bus.stats()).claimed == len(claims_in(tmp_path)) == claimed
    await bus.close()


async def test_a_keeper_with_another_folder_than_the_first_writes_nothing_that_others_cannot_read(
    bus: RedisStreams, redis_url: str, tmp_path: Path
) -> None:
    await bus.append(SPOOL, 1, 0, large(0, 1))
    ClaimFolder(tmp_path / "mistaken").make_store()

    async with bus_at(redis_url, tmp_path / "mistaken") as mistaken:
        await mistaken.append(b"another-spool---", 1, 0, large(1, 1))

    assert len(await read(bus)) == 2


class HeldClock:
    s = 1_000_000

    def now_ms(self) -> int:
        return self.s * 1000

    def monotonic_ns(self) -> int:
        return self.s * 10**9


async def test_a_folder_that_hangs_holds_up_a_batch_once(
    bus: RedisStreams, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bus.append(SPOOL, 1, 0, [*large(0, 5), Entry(b"small", b"s")])
    mark, kept = tmp_path / "claims" / "STORE", tmp_path / "STORE"
    mark.rename(kept)
    os.mkfifo(mark)  # to open it waits for a writer
    payloads = Payloads(ClaimFolder(tmp_path / "claims"), above=ABOVE, timeout_s=0.2, clock=(clock := HeldClock()))
    other = RedisStreams(RedisLink(Secret(redis_url)), "k", min_idle_ms=100, payloads=payloads)
    asked: list[object] = []
    submit = payloads._disk.submit

    def counted(act: Callable[[], object]) -> Future[object]:
        asked.append(act)
        return submit(act)

    monkeypatch.setattr(payloads._disk, "submit", counted)

    got = await read(other)

    assert [one.event_id for one in got] == [b"small"]
    assert len(asked) == 1
    await bus.ack("db", [one.key for one in got])
    mark.write_bytes(kept.read_bytes())
    kept.replace(mark)

    async def all_there() -> bool:
        clock.s += 1
        got.extend(await claim(other))
        return len({one.event_id for one in got}) == 6

    await eventually_async(all_there)
    await other.close()


async def test_a_dispatcher_without_the_folder_waits(bus: RedisStreams, redis_url: str) -> None:
    await bus.append(SPOOL, 1, 0, large(0, 1))

    async with bus_at(redis_url, None) as other:
        assert await read(other) == []
        assert await claim(other) == []

    assert len(await claim(bus)) == 1


async def test_a_relay_that_died_before_the_append_does_it_again(bus: RedisStreams, tmp_path: Path) -> None:
    (sent,) = large(0, 1)
    await payloads_at(tmp_path / "claims").pack(sent, bus._link, b"{k}:claims")

    await bus.append(SPOOL, 1, 0, [sent])

    assert [one.payload for one in await read(bus)] == [sent.payload]
    assert len(claims_in(tmp_path)) == 1


async def test_claims_go_by_age_but_not_while_an_entry_refers_to_them(redis_url: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "claims")
    bus = open_redis(
        Settings(redis_url=Secret(redis_url), redis_stream_key="k", claim_check_dir=folder, claim_check_bytes=ABOVE)
    )
    await bus.ensure_groups(["db"])
    await bus.append(SPOOL, 1, 0, large(0, 1))
    later = SystemClock().now_ms() + 8 * DAY_MS

    assert await bus.expire_claims(later) == 0
    assert len(await read(bus)) == 1

    client(redis_url).xtrim("{k}:evt", 0, approximate=False)
    assert await bus.expire_claims(later) == 1
    assert claims_in(tmp_path) == []
    await bus.close()
