"""Redis Cluster: all keys of a bus lie in one slot, whichever node has it, and wherever it moves."""

import binascii
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.bus import Entry
from bus.errors import BusUnavailable
from bus.ownership import spools
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.redis_streams import RedisStreams
from bus.relay import Relay
from bus.sharded import ShardedStreams
from bus.shards import Shard, Shards
from config.secret import Secret
from tests.bus.redis_verbs import use_everything
from tests.support.proxy import free_port
from tests.support.redis_server import RedisServer, binaries
from tests.support.relays import record
from tests.support.spools import open_spool
from tests.support.waiting import eventually, eventually_async

SLOTS = 16384


def slot(key: bytes) -> int:
    """As the cluster's specification has it: CRC16 (XMODEM) of what the first braces hold."""
    tag = re.search(rb"\{([^}]+)\}", key)
    return binascii.crc_hqx(tag[1] if tag else key, 0) % SLOTS


class Watched(RedisLink):
    """Notes the keys of each script."""

    def __init__(self, url: Secret) -> None:
        super().__init__(url)
        self.of_scripts: list[list[bytes]] = []

    async def run(self, script: str, keys: list[bytes], arguments: list[Any]) -> Any:
        self.of_scripts.append(keys)
        return await super().run(script, keys, arguments)


@pytest.mark.parametrize("key", ["llm-proxy-events", "a", "tenant-7:events"])
async def test_all_keys_of_all_scripts_lie_in_one_slot(redis_url: str, key: str) -> None:
    link = Watched(Secret(redis_url))

    await use_everything(link, key)
    await link.close()

    assert len(link.of_scripts) >= 12
    assert {slot(name) for names in link.of_scripts for name in names} == {slot(key.encode())}


def node(program: str) -> RedisServer:
    own = {"enabled": "yes", "port": free_port(), "node-timeout": 2000}
    return RedisServer(program, *(part for name, value in own.items() for part in (f"--cluster-{name}", str(value))))


@pytest.fixture(params=["redis", "valkey"])
def two_nodes(request: pytest.FixtureRequest) -> Iterator[list[RedisServer]]:
    """A cluster: the first node has the lower half of the slots, the second the upper."""
    if request.param not in binaries():
        pytest.skip("no redis-server installed; Valkey is tested")
    nodes = [node(binaries()[request.param]) for _ in range(2)]
    first, second = (each.client() for each in nodes)
    first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS // 2 - 1)
    second.execute_command("CLUSTER", "ADDSLOTSRANGE", SLOTS // 2, SLOTS - 1)
    bus_port = nodes[1]._options[3]
    first.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, bus_port)
    for client in (first, second):
        eventually(lambda of=client: b"cluster_state:ok" in _state(of))  # type: ignore[misc]
    yield nodes
    for each in nodes:
        each.remove()


def _state(client: Any) -> bytes:
    answer = client.execute_command("CLUSTER", "INFO")
    return answer if isinstance(answer, bytes) else f"cluster_state:{answer['cluster_state']}".encode()


@pytest.fixture
async def links(two_nodes: list[RedisServer]) -> AsyncIterator[list[RedisLink]]:
    opened = [RedisLink(Secret(each.url)) for each in two_nodes]
    yield opened
    for link in opened:
        await link.close()


@pytest.mark.slow
async def test_whichever_node_is_named_everything_works(two_nodes: list[RedisServer], links: list[RedisLink]) -> None:
    for number, link in enumerate(links):
        for key in ("events-of-one", "events-of-two", "events-of-three", "events-of-four"):
            await use_everything(link, f"{key}-{number}")


@pytest.mark.slow
async def test_relay_and_consumer_follow_their_slot_to_another_node(
    two_nodes: list[RedisServer], links: list[RedisLink], tmp_path: Path
) -> None:
    spool = open_spool(tmp_path)
    relayed, consumed = (RedisStreams(link, "k", min_idle_ms=100) for link in links)
    await relayed.ensure_groups(["db"])
    relay = Relay(tmp_path, relayed, retain="delivered", poll_ms=5, backoff_ms=1, backoff_max_ms=10)
    before = await record(spool, 20)
    assert await relay.drain(10) == 0
    assert await ids_in(consumed) == before

    move(slot(b"{k}"), two_nodes)
    after = await record(spool, 20)

    assert await relay.drain(10) == 0
    assert await ids_in(consumed) == after
    assert await consumed.delivered_through(next(iter(spools(tmp_path)))) == 39
    relay.close()
    spool.close()


@pytest.mark.slow
@pytest.mark.parametrize("two_nodes", ["valkey"], indirect=True)
async def test_shards_lie_on_both_nodes_and_all_of_them_are_found(two_nodes: list[RedisServer]) -> None:
    payloads, count = Payloads(), 4

    def open_shard(number: int) -> Shard:
        return Shard.of(number, RedisLink(Secret(two_nodes[0].url)), "k", min_idle_ms=100, payloads=payloads)

    bus = ShardedStreams(Shards(open_shard, count, "k", payloads))
    await bus.ensure_groups(["db"])
    spools_used = [bytes([n]) * 16 for n in range(count)]
    for spool in spools_used:
        await bus.append(spool, 1, 0, [Entry(spool, b"payload")])

    got = await bus.read("db", "c", max_entries=100, max_bytes=1 << 20, block_ms=0)
    await bus.ack("db", [delivery.key for delivery in got])

    assert sorted(delivery.event_id for delivery in got) == spools_used
    assert [await bus.delivered_through(spool) for spool in spools_used] == [0] * count
    assert all(b"evt" in b"".join(each.client().keys("*")) for each in two_nodes)  # type: ignore[arg-type]
    await bus.close()


async def ids_in(bus: RedisStreams) -> list[bytes]:
    """Reads and acknowledges, also when the first call finds that the slot has moved."""
    found: list[bytes] = []

    async def is_empty() -> bool:
        try:
            some = await bus.read("db", "c", max_entries=1000, max_bytes=1 << 24, block_ms=0)
        except BusUnavailable:
            return False
        found.extend(delivery.event_id for delivery in some)
        await bus.ack("db", [delivery.key for delivery in some])
        return not some

    await eventually_async(is_empty)
    return found


def move(number: int, nodes: list[RedisServer]) -> None:
    """A slot with all that is in it to the other node, as `redis-cli --cluster reshard` does it."""
    clients = [each.client() for each in nodes]
    ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
    of, to = (0, 1) if number < SLOTS // 2 else (1, 0)
    clients[to].execute_command("CLUSTER", "SETSLOT", number, "IMPORTING", ids[of])
    clients[of].execute_command("CLUSTER", "SETSLOT", number, "MIGRATING", ids[to])
    keys = clients[of].execute_command("CLUSTER", "GETKEYSINSLOT", number, 100)
    clients[of].execute_command("MIGRATE", "127.0.0.1", nodes[to].port, "", 0, 5000, "KEYS", *keys)
    for client in (clients[to], clients[of]):
        client.execute_command("CLUSTER", "SETSLOT", number, "NODE", ids[to])
