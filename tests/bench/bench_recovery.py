"""How long the fleet takes to go on after a loss, with all time constants as they are shipped.

    python -m tests.bench.bench_recovery [trials]

killed    a dispatcher with a batch in hand gets kill -9: until another one has delivered it (bar: 35 s)
stopped   the same with SIGTERM: until the other one has delivered what was handed over (bar: 1 s)
Redis     comes back empty after 5 s away, under load: until the relay's first append (bar: 2 s)

The trials of the first two run side by side, each with dispatchers, stream and receiver of its own.
"""

import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import redis

from tests.bench.load import Job
from tests.bench.stand import WholeProduct, do, running_mock, running_proxy
from tests.support.dispatchers import answering_after, dispatching, fed
from tests.support.redis_server import RedisServer, binaries
from tests.support.upstream import running_upstream
from tests.support.waiting import eventually
from tests.support.webhook_server import SECRET, WebhookReceiver

_AWAY_S: Final = 5.0
_LONGEST_S: Final = 300.0
_SIDE_BY_SIDE: Final = 3


def taken_over(folder: Path, url: str, number: signal.Signals) -> float:
    """Seconds from the end of who held a batch of ten, one of them refused, until the nine others are delivered."""
    folder.mkdir()
    may_answer = threading.Event()
    environ = {
        "DISPATCHER_BACKENDS": "webhook",
        "REDIS_URL": url,
        "REDIS_STREAM_KEY": folder.name,
        "WEBHOOK_SECRET": SECRET,
    }
    with running_upstream() as upstream:
        receiver = WebhookReceiver(upstream, "/hook")
        receiver.next(answering_after(may_answer))
        environ["WEBHOOK_URL"] = receiver.url
        sent = fed(url, 10, folder.name)  # before anybody reads, so that the ten are one batch
        receiver.refused = {sent[4]}
        with dispatching(folder, **environ) as holder:
            eventually(lambda: holder.live("in_flight") == 10)
            with dispatching(folder, **environ):
                holder.process.send_signal(number)
                ended_at = time.monotonic()
                may_answer.set()
                eventually(lambda: len(receiver.done) == 9, within_s=_LONGEST_S)
                return time.monotonic() - ended_at


def first_append(server: RedisServer) -> float:
    """Seconds from the first answer of a Redis that was away to the first entry in its stream."""
    server.kill()
    time.sleep(_AWAY_S)
    server.start()
    came_back = time.monotonic()
    client = server.client()
    eventually(lambda: _has_entries(client), every_s=0.005)
    return time.monotonic() - came_back


def _has_entries(client: "redis.Redis") -> bool:
    return any(client.type(key) == b"stream" and client.xlen(key) for key in client.scan_iter(count=1000))


def redis_comes_back(folder: Path, server: RedisServer, trials: int) -> list[float]:
    with running_mock() as mock, running_proxy(folder, mock, WholeProduct, environ={"REDIS_URL": server.url}) as proxy:
        has_ended = threading.Event()

        def load() -> None:
            while not has_ended.is_set():
                do(Job(kind="json", port=proxy.port, token=proxy.token, concurrency=2, seconds=1))

        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load)
            try:
                return [first_append(server) for _ in range(trials)]
            finally:
                has_ended.set()
                loading.result()


def told(name: str, bar_s: float, taken_s: list[float]) -> str:
    return (
        f"{name:8} {len(taken_s):3} trials   p50 {statistics.median(taken_s):6.2f} s   "
        f"longest {max(taken_s):6.2f} s   bar {bar_s:g} s"
    )


def main(trials: int) -> None:
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as name:
        server = RedisServer(next(iter(binaries().values())))
        try:
            _after_a_dispatcher(Path(name), server.url, trials)
            print(told("Redis", 2, redis_comes_back(Path(name, "proxy"), server, trials)))
        finally:
            server.remove()


def _after_a_dispatcher(root: Path, url: str, trials: int) -> None:
    for bar_s, number in ((35, signal.SIGKILL), (1, signal.SIGTERM)):
        name = "killed" if number == signal.SIGKILL else "stopped"
        folders = [root / f"{name}-{count}" for count in range(trials)]
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            taken_s = pool.map(partial(taken_over, url=url, number=number), folders)
            print(told(name, bar_s, list(taken_s)), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
