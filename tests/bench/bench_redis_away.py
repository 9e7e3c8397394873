"""Requests a second while Redis is up, frozen and gone: no request waits for it, so they should be the same.

    python -m tests.bench.bench_redis_away [rounds]

The proxy has a core of its own; keeper, dispatcher and admin, Redis, load and mock share the other. Redis is up twice
in each round: what these two are apart is noise.
"""

import os
import signal
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.load import Job
from tests.bench.memory import family
from tests.bench.stand import WholeProduct, cores, do, on_cores, running_mock, running_proxy
from tests.support.llm_proxy import processes
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer, binaries

_CONCURRENCY: Final = 16
_SECONDS: Final = 1.5
_STATES: Final = ("up", "frozen", "gone", "up again")


def measured(proxy: Proxy) -> float:
    job = Job(kind="json", port=proxy.port, token=proxy.token, concurrency=_CONCURRENCY, seconds=_SECONDS)
    told = do(job)
    return told.count / told.seconds


def round_of(proxy: Proxy, redis: RedisServer) -> dict[str, float]:
    rates = {"up": measured(proxy)}
    redis.freeze(is_frozen=True)
    rates["frozen"] = measured(proxy)
    redis.freeze(is_frozen=False)
    redis.kill()
    rates["gone"] = measured(proxy)
    redis.start()
    rates["up again"] = measured(proxy)
    return rates


def leave_the_core_to_the_proxy(proxy: Proxy) -> None:
    assert proxy.process is not None
    lines = processes()
    for pid in family(proxy.process.pid):
        if " _proxy " not in lines.get(pid, "") and "multiprocessing" not in lines.get(pid, ""):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores()[1])


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as folder, running_mock() as mock:
        with on_cores(cores()[1]):
            redis = RedisServer(next(iter(binaries().values())))
        try:
            with running_proxy(Path(folder), mock, WholeProduct, environ={"REDIS_URL": redis.url}) as proxy:
                leave_the_core_to_the_proxy(proxy)
                measured(proxy)
                found = [round_of(proxy, redis) for _ in range(rounds)]
        finally:
            redis.remove()
    print(f"JSON, {_CONCURRENCY} connections, median of {rounds} rounds; load average {os.getloadavg()[0]:.1f}")
    for state in _STATES:
        rate = statistics.median(one[state] for one in found)
        ratio = statistics.median(one[state] / one["up"] for one in found)
        print(f"Redis {state:9} {rate:7,.0f} requests/s   {ratio:.2f} of up")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
