"""What a Redis that loses its data, its disk or its place costs: relay, spools and real servers together."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.bus import Delivery, Entry
from bus.errors import BusUnavailable
from bus.ledger import ledger_of
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.relay import Relay
from bus.wake import WakeListener
from config import paths
from config.secret import Secret
from config.settings import Retain, Settings
from tests.support.redis_server import RedisServer, binaries
from tests.support.relays import record
from tests.support.spools import open_spool
from tests.support.waiting import eventually, until

GROUPS = ["db", "file"]
SPOOL = b"spool-one-------"


@asynccontextmanager
async def bus_at(url: str) -> AsyncIterator[RedisStreams]:
    bus = RedisStreams(RedisLink(Secret(url)), "k", min_idle_ms=200)
    await bus.ensure_groups(GROUPS)
    yield bus
    await bus.close()


@asynccontextmanager
async def relayed(root: Path, bus: RedisStreams, retain: Retain = "delivered") -> AsyncIterator[Relay]:
    relay = Relay(root, bus, retain=retain, poll_ms=5, upkeep_ms=10, backoff_ms=5, backoff_max_ms=20)
    try:
        yield relay
    finally:
        relay.close()


async def sent_again(relay: Relay) -> None:
    """The first ends with a look at what the server has, the second sends what that found missing."""
    await relay.drain(10)
    assert await relay.drain(10) == 0


async def all_of(bus: RedisStreams, group: str) -> list[Delivery]:
    found: list[Delivery] = []
    while some := await bus.read(group, "c", max_entries=1000, max_bytes=1 << 24, block_ms=0):
        found += some
    return found


async def ids_in(bus: RedisStreams, group: str) -> list[bytes]:
    return [delivery.event_id for delivery in await all_of(bus, group)]


async def test_what_a_failover_loses_is_sent_again_once(tmp_path: Path) -> None:
    program = next(iter(binaries().values()))
    first, second = RedisServer(program, "--repl-diskless-sync-delay", "0"), RedisServer(program)
    spool = open_spool(tmp_path)
    try:
        second.client().replicaof("127.0.0.1", str(first.port))
        eventually(lambda: second.client().info("replication")["master_link_status"] == "up")
        async with _name_of(first) as (url, points_to), bus_at(url) as bus, relayed(tmp_path, bus) as relay:
            replicated = await record(spool, 20)
            await relay.drain(10)
            eventually(lambda: second.client().xlen("{k}:evt") == 20)
            second.client().replicaof("127.0.0.1", "1")  # the line between them is cut
            behind = await record(spool, 30)
            await relay.drain(10)
            assert first.client().xlen("{k}:evt") == 50

            first.kill()
            second.client().replicaof("NO", "ONE")
            points_to(second)
            await sent_again(relay)

            assert await ids_in(bus, "db") == await ids_in(bus, "file") == [*replicated, *behind]
    finally:
        spool.close()
        first.remove()
        second.remove()


@asynccontextmanager
async def _name_of(server: RedisServer) -> AsyncIterator[tuple[str, Callable[[RedisServer], None]]]:
    """A name that a failover points elsewhere: connections to it go to one server, then to another."""
    ports = [server.port]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the test ends
            answers, questions = await asyncio.open_connection("127.0.0.1", ports[-1])
            await asyncio.gather(_pipe(reader, questions), _pipe(answers, writer))
        writer.close()

    listener = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    async with listener:
        yield (
            f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0",
            lambda other: ports.append(other.port),
        )


async def _pipe(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await source.read(1 << 16):
            to.write(some)
            await to.drain()
    to.close()


async def test_a_server_that_is_killed_and_comes_back_has_each_event_once(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    spool = open_spool(tmp_path)
    async with bus_at(own_redis.url) as bus, relayed(tmp_path, bus) as relay:
        before = await record(spool, 50)
        await relay.drain(10)
        own_redis.kill()
        meanwhile = await record(spool, 10)
        assert await relay.drain(0.1) == 10
        own_redis.start()

        assert await relay.drain(10) == 0
        assert await ids_in(bus, "db") == [*before, *meanwhile]
    spool.close()


async def test_a_server_that_comes_back_empty_gets_again_what_any_backend_still_waits_for(
    tmp_path: Path, redis_url: str
) -> None:
    spool = open_spool(tmp_path)
    async with bus_at(redis_url) as bus, relayed(tmp_path, bus) as relay:
        events = await record(spool, 40)
        await relay.drain(10)
        await bus.ack("db", [delivery.key for delivery in await all_of(bus, "db")])
        await bus._link.call("FLUSHALL")

        await sent_again(relay)

        assert await ids_in(bus, "file") == events
        assert await ids_in(bus, "db") == events, "twice on the wire: the server has forgotten what it had delivered"
    spool.close()


async def test_with_replicated_a_server_that_comes_back_empty_takes_what_the_spools_had_deleted_and_it_is_counted(
    tmp_path: Path, redis_url: str
) -> None:
    spool = open_spool(tmp_path)
    async with bus_at(redis_url) as bus, relayed(tmp_path, bus, "replicated") as relay:
        events = await record(spool, 100, body=b"x" * 4000)
        await relay.drain(10)
        await bus._link.call("FLUSHALL")
        await sent_again(relay)

        left = await ids_in(bus, "db")
        assert 0 < len(left) < 100
        assert left == events[-len(left) :]
        assert relay.stats().unrecoverable == 100 - len(left)
    spool.close()


async def test_dead_letters_and_replays_go_with_the_server_that_held_them(redis_url: str) -> None:
    async with bus_at(redis_url) as bus:
        await bus.append(SPOOL, 1, 0, [Entry(bytes(16), b"payload")])
        (delivery,) = await bus.read("db", "c", max_entries=1, max_bytes=1, block_ms=0)
        assert await bus.dead_letter("db", "c", delivery.key, reason="permanent", detail="")

        await bus._link.call("FLUSHALL")

        assert (await RedisLetters(bus._link, "k").letters("db")).letters == ()
        assert (await bus.stats()).appended == 0


async def test_a_host_that_is_gone_with_its_disk_takes_only_what_was_not_relayed(
    tmp_path: Path, redis_url: str
) -> None:
    spool = open_spool(tmp_path)
    async with bus_at(redis_url) as bus:
        async with relayed(tmp_path, bus) as relay:
            events = await record(spool, 20)
            await relay.drain(10)
            await record(spool, 5)
        spool.close()
        shutil.rmtree(tmp_path)

        assert await ids_in(bus, "db") == events


async def test_a_server_whose_disk_is_gone_is_away_and_nothing_is_lost(tmp_path: Path) -> None:
    server = RedisServer(next(iter(binaries().values())))
    spool = open_spool(tmp_path)
    try:
        async with bus_at(server.url) as bus, relayed(tmp_path, bus) as relay:
            _lose_the_disk(server)
            events = await record(spool, 10)
            with pytest.raises(BusUnavailable):
                await bus._link.call("SET", "any", "thing")
            assert await relay.drain(0.2) == 10

            server.client().config_set("stop-writes-on-bgsave-error", "no")
            assert await relay.drain(10) == 0
            assert await ids_in(bus, "db") == events
    finally:
        spool.close()
        server.remove()


def _lose_the_disk(server: RedisServer) -> None:
    """Then the server refuses writes with MISCONF."""
    client = server.client()
    client.config_set("save", "3600 1")
    client.set("unsaved", "yes")
    shutil.rmtree(server.folder)
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


@pytest.mark.parametrize(
    "by_hand",
    [
        ("XTRIM", b"{k}:evt", "MAXLEN", 6),
        ("XGROUP", "DELCONSUMER", b"{k}:evt", "db", "c"),
        ("XGROUP", "SETID", b"{k}:evt", "db", "$"),
    ],
    ids=["trimmed", "consumer deleted", "group moved"],
)
async def test_what_somebody_takes_by_hand_is_missing_in_the_ledger(redis_url: str, by_hand: tuple[str, ...]) -> None:
    async with bus_at(redis_url) as bus:
        await bus.append(SPOOL, 1, 0, [Entry(bytes([n]) * 16, b"payload") for n in range(10)])
        await bus.read("db", "c", max_entries=2, max_bytes=1 << 20, block_ms=0)
        assert ledger_of(await bus.stats(), {}, {}, is_shared=True).closes

        await bus._link.call(*by_hand)
        await bus.claim("db", "d", min_idle_ms=0, max_entries=10)
        await ids_in(bus, "db")

        (account,) = [a for a in ledger_of(await bus.stats(), {}, {}, is_shared=True).accounts if a.backend == "db"]
        assert account.missing >= 2


async def test_the_first_append_follows_the_servers_return(tmp_path: Path, own_redis: RedisServer) -> None:
    settings = Settings(data_dir=str(tmp_path), redis_url=Secret(own_redis.url))
    spool = open_spool(paths.spool_root(settings))
    async with bus_at(own_redis.url) as bus, asyncio.TaskGroup() as tasks:
        wake = WakeListener(tmp_path / "wake")
        relay = Relay.of(settings, bus, wake)
        running = tasks.create_task(relay.run(), name="relay")
        own_redis.kill()
        await record(spool, 1)
        await until(lambda: relay.stats().is_bus_away)

        own_redis.start()
        await until(lambda: relay.stats().appended == 1)

        assert settings.relay_backoff_max_ms < 2000, "no pause is so long that the server's return is noticed late"
        running.cancel()
    relay.close()
    wake.close()
    spool.close()
