"""What a record costs a request: `begin` + `finish` of a 2 KB event, by itself and against one bare write of 2 KB.

    python -m tests.bench.bench_recording [events]

The ratio says more than the microseconds on a machine that others use, too: both sides suffer from them alike.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from bus.event import Body, ExchangeBegan, ExchangeFinished, Usage
from bus.relay import Relay
from bus.spool import Spool
from bus.sqlite_log import SqliteLog
from bus.wake import Wake
from config.ids import new_id
from config.settings import RecordMode

BODY = Body(data=b"x" * 900, content_type="application/json")
PAUSE_EVERY = 20  # a loop has other things to do, and the spool's thread its turn


class Cost(Struct, frozen=True):
    p50_us: float
    p99_us: float

    def __str__(self) -> str:
        return f"p50 {self.p50_us:7.1f} us   p99 {self.p99_us:8.1f} us"


def exchange() -> tuple[ExchangeBegan, ExchangeFinished]:
    event_id, now_ms = new_id(), time.time_ns() // 1_000_000
    known = {"event_id": event_id, "request_id": event_id, "accepted_at_ms": now_ms}
    began = ExchangeBegan(**known, method="POST", path="/v1/chat/completions", provider="openai")  # type: ignore[arg-type]
    finished = ExchangeFinished(
        **known,  # type: ignore[arg-type]
        method="POST",
        path="/v1/chat/completions",
        status=200,
        provider="openai",
        model="gpt-5",
        usage=Usage(input=10, output=20),
        request_body=BODY,
        response_body=BODY,
    )
    return began, finished


def cost_of(taken_ns: list[int]) -> Cost:
    cuts = statistics.quantiles(taken_ns, n=100)
    return Cost(statistics.median(taken_ns) / 1000, cuts[98] / 1000)


async def recording(root: Path, record: RecordMode, events: int) -> Cost:
    spool = Spool.open(
        root,
        segment_bytes=32 * 1024**2,
        max_bytes=4 * 1024**3,
        record=record,
        when_full="drop",
        sync_ms=50,
        wake=Wake(root / "wake.sock"),
    )
    taken = []
    for number in range(events):
        began, finished = exchange()
        start = time.perf_counter_ns()
        spool.begin(began)
        await spool.finish(finished)
        taken.append(time.perf_counter_ns() - start)
        if number % PAUSE_EVERY == 0:
            await asyncio.sleep(0.001)
    spool.close()
    return cost_of(taken)


def bare_write(root: Path, events: int) -> Cost:
    taken, record = [], bytes(2048)
    fd = os.open(root / "bare", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, len(record) * events)
    for number in range(events):
        start = time.perf_counter_ns()
        os.pwrite(fd, record, number * len(record))
        taken.append(time.perf_counter_ns() - start)
    os.close(fd)
    return cost_of(taken)


async def relayed_per_s(root: Path) -> float:
    """From spools on disk into the embedded log."""
    log = await SqliteLog.open(root / "bus.db")
    relay = Relay(root, log, retain="replicated", poll_ms=5)
    start = time.perf_counter()
    await relay.drain(120)
    took_s = time.perf_counter() - start
    number = relay.stats().appended
    relay.close()
    await log.close()
    return number / took_s


async def main(events: int) -> None:
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as folder:
        root = Path(folder)
        bare = bare_write(root, events)
        print(f"bare 2 KB write        {bare}")
        for record, number in (("os", events), ("async", events), ("disk", events // 20)):
            cost = await recording(root, record, number)  # type: ignore[arg-type]
            print(f"begin + finish, {record:6} {cost}   {cost.p50_us / bare.p50_us:.1f} bare writes")
        print(f"relay to the embedded log: {await relayed_per_s(root):,.0f} events/s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
