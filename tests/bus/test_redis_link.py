"""What a server refuses for a while is told as its absence, and nobody keeps talking to one that was demoted."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.bus import Entry
from bus.errors import BusUnavailable
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from config.secret import Secret
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import eventually

SPOOL = b"spool-one-------"


@pytest.fixture(params=["redis", "valkey"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RedisServer]:
    if request.param not in binaries():
        pytest.skip("no redis-server installed; Valkey is tested")
    started = RedisServer(binaries()[request.param])
    yield started
    started.remove()


@pytest.fixture
async def bus(server: RedisServer) -> AsyncIterator[RedisStreams]:
    opened = RedisStreams(RedisLink(Secret(server.url)), "test-events", min_idle_ms=200)
    await opened.ensure_groups(["db"])
    await opened.append(SPOOL, 1, 0, [Entry(b"event-0000000000", b"payload")])
    yield opened
    await opened.close()


async def _asked_everything(bus: RedisStreams) -> list[type[Exception]]:
    """What each verb that a demoted server refuses ends with."""
    ended: list[type[Exception]] = []
    for asked in (
        bus.append(SPOOL, 1, 1, [Entry(b"event-0000000001", b"payload")]),
        bus.read("db", "c1", max_entries=10, max_bytes=1 << 20, block_ms=0),
        bus.read("db", "c1", max_entries=10, max_bytes=1 << 20, block_ms=10),
        bus.claim("db", "c1", min_idle_ms=0, max_entries=10),
        bus.trim(),
        bus.retire(SPOOL),
    ):
        try:
            await asked
        except Exception as error:
            ended.append(type(error))
    return ended


async def test_a_demoted_server_is_away_until_it_is_promoted_again(server: RedisServer, bus: RedisStreams) -> None:
    taken = await bus.read("db", "c0", max_entries=10, max_bytes=1 << 20, block_ms=0)
    server.client().replicaof("127.0.0.1", "1")

    ended = await _asked_everything(bus)
    server.client().replicaof("NO", "ONE")

    assert set(ended) == {BusUnavailable}
    assert len(ended) >= 5
    await bus.ack("db", [delivery.key for delivery in taken])


async def test_connections_to_a_demoted_server_are_let_go(server: RedisServer, bus: RedisStreams) -> None:
    server.client().replicaof("127.0.0.1", "1")

    for _ in range(2):
        with pytest.raises(BusUnavailable):
            await bus.append(SPOOL, 1, 1, [Entry(b"event-0000000001", b"payload")])

    watcher = server.client()
    eventually(lambda: int(watcher.info("clients")["connected_clients"]) == 1)


async def test_a_server_without_memory_is_away(server: RedisServer, bus: RedisStreams) -> None:
    client = server.client()
    client.config_set("maxmemory", 1)

    with pytest.raises(BusUnavailable):
        await bus._link.call("SET", "any", "thing")


async def test_a_task_that_asks_for_ever_ends_when_it_is_cancelled(server: RedisServer) -> None:
    """At whatever step: a worker waits until its heartbeat has ended, and redis-py may lose a cancellation."""
    link = RedisLink(Secret(server.url))

    async def ask() -> None:
        while True:
            await link.call("PING")
            await link.run("return 1", [], [])

    for steps in range(60):
        asking = asyncio.create_task(ask())
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking], timeout=60)
        assert asking.cancelled(), f"it goes on after {steps} steps"
    await link.close()


async def test_a_closed_link_leaves_no_connection(server: RedisServer) -> None:
    link = RedisLink(Secret(server.url))
    await asyncio.gather(*(link.call("PING") for _ in range(5)), link.block("PING"))
    watcher = server.client()
    assert int(watcher.info("clients")["connected_clients"]) > 2

    await link.close()

    eventually(lambda: int(watcher.info("clients")["connected_clients"]) == 1)
