"""`llm-proxy dispatcher` as processes that deliver to a webhook, and events for them on Redis."""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bus.bus import Entry
from bus.codec import encode
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from config.ids import id_bytes
from config.secret import Secret
from tests.support.http_sink import Fault, HttpSink
from tests.support.llm_proxy import COMMAND, clean_environment
from tests.support.proxy import free_port
from tests.support.spools import finished
from tests.support.upstream import Received, Wire
from tests.support.waiting import eventually
from tests.support.webhook_server import SECRET, WebhookReceiver

QUICK = {
    "DISPATCHER_BACKENDS": "webhook",
    "LLM_PROXY_DISPATCHER_BACKOFF_MS": "5",
    "LLM_PROXY_DISPATCHER_PROBE_MAX_MS": "50",
    "LLM_PROXY_DISPATCHER_BREAKER_FAILURES": "3",
    "LLM_PROXY_DISPATCHER_MIN_IDLE_MS": "1000",
    "DISPATCHER_BATCH_SIZE": "10",
    "WEBHOOK_SECRET": SECRET,
    "REDIS_STREAM_KEY": "llm-proxy-events",
}


class Dispatcher:
    def __init__(self, process: subprocess.Popen[bytes], url: str, err: Path) -> None:
        self.process, self.url, self.err = process, url, err

    def get(self, path: str) -> httpx.Response:
        assert self.process.poll() is None, self.err.read_text()
        return httpx.get(self.url + path, timeout=60, trust_env=False)

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.get("/ready").status_code == 200
        return False

    def live(self, field: str) -> int:
        """Of the webhook, as of now and not as of the last look."""
        found: int = self.get("/metrics").json()["backends"][0][field]
        return found

    def figures(self) -> dict[str, float]:
        """The webhook's, without the prefix."""
        lines = [line for line in self.get("/metrics/prometheus").text.splitlines() if '{backend="webhook"}' in line]
        split = (line.removeprefix("llm_proxy_dispatcher_").split() for line in lines)
        return {name.partition("{")[0]: float(value) for name, value in split}


@contextmanager
def dispatching(folder: Path, **environ: str) -> Iterator[Dispatcher]:
    address = f"127.0.0.1:{free_port()}"
    err = folder / f"err-{address}"
    with err.open("wb") as stderr:
        process = subprocess.Popen(
            [COMMAND, "dispatcher", "--listen", address], cwd=folder, stderr=stderr, env=clean_environment(**environ)
        )
    started = Dispatcher(process, f"http://{address}", err)
    try:
        eventually(started.is_ready)
        yield started
    finally:
        process.kill()
        process.wait(60)


def environ(redis: str, receiver: WebhookReceiver) -> dict[str, str]:
    return {**QUICK, "REDIS_URL": redis, "WEBHOOK_URL": receiver.url}


def fed(redis: str, count: int, key: str = "llm-proxy-events") -> list[str]:
    """Events that were appended for the webhook."""
    events = [finished() for _ in range(count)]

    async def feed() -> None:
        bus = RedisStreams(RedisLink(Secret(redis)), key, min_idle_ms=1000)
        await bus.ensure_groups(["webhook"])
        seq = (await bus.append(b"spool", 1, 0, [])).high_water + 1
        await bus.append(b"spool", 1, seq, [Entry(id_bytes(event.event_id), encode(event)) for event in events])
        await bus.close()

    asyncio.run(feed())
    return [event.event_id for event in events]


def answering_after(may_answer: threading.Event) -> Fault:
    async def answer(sink: HttpSink, received: Received, wire: Wire) -> None:
        while not may_answer.is_set():
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            await sink.behave(received, wire)

    return answer
