"""kill -9 of any one child of the server while it serves: it is back at once, and every whole reply has its record."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bus.errors import BusUnavailable
from bus.inspection import Inspection
from tests.support.llm_proxy import Demo, Server, demo, is_alive, is_ready
from tests.support.waiting import eventually

_BACK_WITHIN_S = 2.0
_PAUSE_S = 0.05
_TRIES = 3  # on a busy machine the first one may just have had bad luck


class Load:
    """A few clients that call again and again, streamed and not, and note the events of replies that came whole."""

    def __init__(self, server: Demo) -> None:
        self._url, self._headers = server.proxy, {"Authorization": f"Bearer {server.token}"}
        self._stop = threading.Event()
        self.received: list[str] = []

    def client(self, streamed: bool) -> None:
        body = {"model": "gpt-4.1-mini", "stream": streamed, "messages": [{"role": "user", "content": "hello"}]}
        client = httpx.Client(base_url=self._url, headers=self._headers, timeout=60, trust_env=False)
        while not self._stop.wait(_PAUSE_S):
            try:
                reply = client.post("/v1/chat/completions", json=body)
            except httpx.HTTPError:
                continue
            if reply.status_code == 200 and (not streamed or reply.text.endswith("data: [DONE]\n\n")):
                self.received.append(reply.headers["x-llm-proxy-event-id"])

    @contextmanager
    def running(self) -> Iterator["Load"]:
        clients = [threading.Thread(target=self.client, args=(streamed,)) for streamed in (False, False, True)]
        for client in clients:
            client.start()
        try:
            yield self
        finally:
            self._stop.set()
            for client in clients:
                client.join(20)


def _kill_until_back_in_time(pid: Callable[[], int], is_back: Callable[[], bool]) -> None:
    took = []
    for _ in range(_TRIES):
        eventually(is_back)
        victim, began = pid(), time.monotonic()
        os.kill(victim, signal.SIGKILL)
        eventually(lambda gone=victim: not is_alive(gone) and pid() != gone and is_back())  # type: ignore[misc]
        took.append(time.monotonic() - began)
        if took[-1] < _BACK_WITHIN_S or took[-1] < 4 * _importing_s():
            return
    pytest.fail(f"back only after {took} s")


def _importing_s() -> float:
    """How long this machine, as busy as it is just now, takes to import what a worker consists of (0.8 s when idle)."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import app.main, admin.api.routes"], check=True)
    return time.monotonic() - began


def _nth(server: Server, name: str, index: int = 0) -> int:
    """0 while there is none."""
    return dict(enumerate(server.pids(name))).get(index, 0)


def _keeper_answers(folder: Path) -> bool:
    try:
        asyncio.run(Inspection(folder / ".run" / "keeper.sock").stats())
    except BusUnavailable:
        return False
    return True


@pytest.mark.slow
def test_whatever_child_is_killed_it_is_back_at_once_and_nothing_recorded_is_lost(tmp_path: Path) -> None:
    with demo(tmp_path, "--no-demo") as running, Load(running).running() as load:
        server = running.server
        eventually(lambda: len(load.received) > 10)

        workers = server.pids("proxy")[1:]
        _kill_until_back_in_time(lambda: _nth(server, "proxy"), lambda: is_ready(running.proxy))
        assert workers and not any(is_alive(pid) for pid in workers), "an orphan may hold the port"
        _kill_until_back_in_time(lambda: _nth(server, "proxy", 1), lambda: is_ready(running.proxy))
        _kill_until_back_in_time(lambda: _nth(server, "admin"), lambda: is_ready(running.admin))
        _kill_until_back_in_time(lambda: _nth(server, "keeper"), lambda: _keeper_answers(tmp_path))
        enough = len(load.received) + 10
        eventually(lambda: len(load.received) > enough)

    with demo(tmp_path, "--no-demo") as again:  # the first server was itself killed just now
        eventually(lambda: set(load.received) <= again.recorded())
        assert again.server.stop() == 0
    assert len(load.received) > 20
