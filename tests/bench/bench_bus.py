"""How many events a second go into a bus: the relay against plain pipelined XADD, and the embedded log by itself.

    python -m tests.bench.bench_bus [events]

The same client, server, batches and bytes on both sides, in turns; the ratio is what counts. XADD knows no fence, keeps
no books and loses what a dead process had in its hands.
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from bus.bus import Bus, Entry
from bus.codec import encode
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.relay import Relay
from bus.spool import Spool
from bus.sqlite_log import SqliteLog
from bus.wake import Wake
from config.secret import Secret
from tests.bench.bench_recording import exchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

_BATCH: Final = 100
_ROUNDS: Final = 5
_SPOOL: Final = bytes(16)


async def xadd(url: str, payloads: list[bytes]) -> None:
    client = Redis.from_url(url)
    for start in range(0, len(payloads), _BATCH):
        pipeline = client.pipeline(transaction=False)
        for payload in payloads[start : start + _BATCH]:
            pipeline.xadd("plain", {"i": payload[:16], "p": payload})
        await pipeline.execute()
    await client.aclose()


async def appended(bus: Bus, payloads: list[bytes]) -> None:
    """What of the relay's time is the bus's: the batches are in memory."""
    for start in range(0, len(payloads), _BATCH):
        entries = [Entry(payload[:16], payload) for payload in payloads[start : start + _BATCH]]
        await bus.append(_SPOOL, 1, start, entries)


async def relayed(bus: Bus, spools: Path, events: int) -> None:
    relay = Relay(spools, bus, retain="replicated", poll_ms=5)
    running = asyncio.create_task(relay.run(), name="relay")
    await until(lambda: relay.stats().appended == events)
    running.cancel()
    await asyncio.wait([running])
    relay.close()


async def recorded(root: Path, events: int) -> None:
    """The spool of a worker that has died."""
    spool = Spool.open(
        root, segment_bytes=32 * 1024**2, max_bytes=4 * 1024**3, record="os", when_full="drop", sync_ms=1000,
        wake=Wake(root / "wake.sock"),
    )  # fmt: skip
    for _ in range(events):
        began, finished = exchange()
        spool.begin(began)
        await spool.finish(finished)
    assert spool.stats().dropped == 0
    spool.close()


@asynccontextmanager
async def streams(url: str) -> AsyncIterator[RedisStreams]:
    bus = RedisStreams(RedisLink(Secret(url)), "bench", min_idle_ms=30_000)
    await bus.ensure_groups(["database", "file"])
    yield bus
    await bus.close()


async def per_second(events: int, work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return events / (time.perf_counter() - began)


async def on_redis(root: Path, events: int, payloads: list[bytes]) -> dict[str, list[float]]:
    server = RedisServer(shutil.which("redis-server") or "redis-server")
    rates: dict[str, list[float]] = {"pipelined XADD": [], "append": [], "relay": []}
    try:
        for turn in range(_ROUNDS):
            server.client().flushall()
            rates["pipelined XADD"].append(await per_second(events, lambda: xadd(server.url, payloads)))
            server.client().flushall()
            async with streams(server.url) as bus:
                rates["append"].append(await per_second(events, lambda on=bus: appended(on, payloads)))  # type: ignore[misc]
            server.client().flushall()
            spools = shutil.copytree(root / "spools", root / f"spools-{turn}", ignore=shutil.ignore_patterns("*.sock"))
            async with streams(server.url) as bus:
                rates["relay"].append(await per_second(events, lambda on=bus, at=spools: relayed(on, at, events)))  # type: ignore[misc]
    finally:
        server.kill()
        shutil.rmtree(server.folder)
    return rates


async def in_the_log(root: Path, events: int, payloads: list[bytes]) -> float:
    """Sustained: several times as many as the relay's rounds, with two groups that have taken nothing yet."""
    log = await SqliteLog.open(root / "bus.db")
    await log.ensure_groups(["database", "file"])
    rate = await per_second(events, lambda: appended(log, payloads * (events // len(payloads))))
    await log.close()
    return rate


async def main(events: int) -> None:
    payloads = [encode(exchange()[1]) for _ in range(events)]
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as folder:
        root = Path(folder)
        (root / "spools").mkdir()
        await recorded(root / "spools", events)
        rates = await on_redis(root, events, payloads)
        print(f"{events:,} events of {len(payloads[0]):,} bytes in batches of {_BATCH}, median of {_ROUNDS} rounds")
        plain = statistics.median(rates["pipelined XADD"])
        for name, found in rates.items():
            print(
                f"{name:16} {statistics.median(found):9,.0f} events/s  {statistics.median(found) / plain:4.0%} of XADD"
            )
        print(f"{'embedded log':16} {await in_the_log(root, 5 * events, payloads):9,.0f} events/s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
