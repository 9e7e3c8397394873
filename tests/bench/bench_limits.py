"""What limits cost, and that they are exact: `python -m tests.bench.bench_limits [--calls 100000]`.

Cost: processor time of a process for a reservation and its settlement, all limits of a call in one round trip, against
a real Redis and a real owner. Exactness: four processes race for one limit; not one more may pass than it says.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from app.limits.amounts import Estimate
from app.limits.applying import Call
from app.limits.counters import GRANTED, Ask
from app.limits.in_redis import InRedis
from app.limits.limits import Limits
from app.limits.shared import InOwner, SharedCounts
from app.metrics import Metrics
from bus.event import ExchangeFinished, Usage
from config.clock import SystemClock
from config.policy import read_policy
from config.secret import Secret
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import eventually

PROCESSES, MOST, ROUNDS, ROUND = 4, 1000, 30, 320
COUNTS = (0, 1, 3, 5)
_EVENT = ExchangeFinished(
    event_id="e", request_id="r", accepted_at_ms=0, method="POST", path="/v1/chat/completions", status=200,
    upstream_head_us=1, usage=Usage(input=20, output=10), cost_microusd=75,
)  # fmt: skip
_CALL = Call("p-1", "project", "t-1", "ann", "gpt-4o", "openai", "/v1/chat/completions")


def _policy(count: int) -> dict[str, object]:
    kinds = [
        {"measure": "requests", "most": 1e9, "window": "1m", "per": ["token"]},
        {"measure": "tokens", "most": 1e9, "window": "1m", "per": ["project"]},
        {"measure": "parallel", "most": 1e6, "per": ["token", "model"]},
        {"measure": "cost", "most": 1e6, "window": "month", "per": ["project"]},
        {"measure": "requests", "most": 1e9, "window": "24h", "per": ["end_user"]},
    ]
    return {"limits": [{"name": f"limit {number}", **kind} for number, kind in enumerate(kinds[:count])]}


async def _cost(where: InRedis | InOwner, count: int, callers: int) -> float:
    """Microseconds of processor time per call, p50 of the rounds. `callers` ask at once."""
    shared = SharedCounts(where, prefix=f"bench{count}", name="bench", answer_s=5, hold_ms=60_000)
    limits = Limits(shared, Metrics(), SystemClock(), hold_ms=60_000)
    limits.follow(read_policy(_policy(count)))
    keeping = asyncio.ensure_future(shared.keep_up())
    while count and shared.is_away:
        await asyncio.sleep(0.01)
    took = []

    async def caller(name: str) -> None:
        for number in range(ROUND // callers):
            held = await limits.reserve(f"{name}-{number}", _CALL, Estimate(10, 100, 300), "openai")
            if held is not None:
                held.settle(_EVENT)

    for number in range(ROUNDS):
        began = time.process_time()
        await asyncio.gather(*(caller(f"{number}-{who}") for who in range(callers)))
        took.append((time.process_time() - began) / ROUND * 1e6)
    keeping.cancel()
    shared.close()
    return statistics.median(took)


async def _race(where: InRedis | InOwner, name: str, calls: int) -> int:
    shared = SharedCounts(where, prefix="race", name=name, answer_s=60, hold_ms=600_000)
    keeping = asyncio.ensure_future(shared.keep_up())
    while shared.is_away:
        await asyncio.sleep(0.01)
    ask, passed = Ask("limit", MOST, 1, 3_600_000), 0
    for begin in range(0, calls, 100):
        racing = [shared.reserve(f"{name}-{number}", [ask]) for number in range(begin, min(begin + 100, calls))]
        passed += sum(answer.status == GRANTED for answer in await asyncio.gather(*racing))
    keeping.cancel()
    shared.close()
    return passed


def _racer(address: str, name: str, calls: int, passed: "multiprocessing.Queue[int]") -> None:
    passed.put(uvloop.run(_race(_where(address), name, calls)))


def _where(address: str) -> InRedis | InOwner:
    return InRedis(Secret(address)) if address.startswith("redis") else InOwner(address)


def exactness(address: str, calls: int) -> int:
    """How many passed of all calls of all processes."""
    context = multiprocessing.get_context("spawn")
    passed: multiprocessing.Queue[int] = context.Queue()
    racers = [
        context.Process(target=_racer, args=(address, f"racer{number}", calls // PROCESSES, passed))
        for number in range(PROCESSES)
    ]
    for racer in racers:
        racer.start()
    total = sum(passed.get(timeout=600) for _ in racers)
    for racer in racers:
        racer.join(60)
    return total


@contextmanager
def running_owner() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "DATA_DIR": folder, "ENV": os.devnull}
        process = subprocess.Popen([sys.executable, "-m", "app.cli.main", "_limits", str(os.getpid())], env=environ)
        socket = Path(folder) / "limits.sock"
        eventually(socket.exists)
        yield str(socket)
        process.terminate()
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    calls = parser.parse_args().calls
    redis = RedisServer(next(iter(binaries().values())))
    try:
        with running_owner() as owner:
            for name, address in (("Redis", redis.url), ("owner", owner)):
                for callers in (1, 16):
                    costs = [uvloop.run(_cost(_where(address), count, callers)) for count in COUNTS]
                    told = ", ".join(f"{n}: {us:.1f} us" for n, us in zip(COUNTS, costs, strict=True))
                    print(f"{name}: processor time of a call, {callers} at once, by number of limits: {told}")
                passed = exactness(address, calls)
                print(f"{name}: {calls} calls of {PROCESSES} processes at a limit of {MOST}: {passed} passed")
    finally:
        redis.remove()


if __name__ == "__main__":
    main()
