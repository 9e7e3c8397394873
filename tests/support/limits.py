"""A proxy whose calls are limited: a policy in its database, and somebody who counts, in Redis or in the owner."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from config import paths
from sql.repositories import changes, policies
from sql.rows import PolicyRow
from sql.stores import Stores
from tests.support.proxy import ROOT, Proxy, now_ms
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually


class Counting:
    """Who counts: may be killed, frozen and started again."""

    def __init__(self, proxy: Proxy, server: RedisServer | None) -> None:
        self._proxy, self.redis = proxy, server
        self._owner: subprocess.Popen[bytes] | None = None
        if server:
            proxy.environ |= {"REDIS_URL": server.url, "LLM_PROXY_EVENT_BUS": "embedded"}

    def start(self) -> None:
        if self.redis:
            return
        command = [sys.executable, "-m", "app.cli.main", "_limits", str(os.getpid())]
        log = (self._proxy.folder / "owner.log").open("ab")
        self._owner = subprocess.Popen(command, cwd=ROOT, env=self._proxy.environment(), stdout=log, stderr=log)
        socket = paths.limits_socket(self._proxy.settings)
        eventually(socket.exists)

    def kill(self) -> None:
        if self._owner:
            self._owner.kill()
            self._owner.wait(60)
            self._owner = None
        elif self.redis:
            self.redis.kill()

    def freeze(self, *, is_frozen: bool) -> None:
        if self.redis:
            self.redis.freeze(is_frozen=is_frozen)
        else:
            assert self._owner
            self._owner.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)


class Limited:
    def __init__(self, proxy: Proxy, counting: Counting) -> None:
        self.proxy, self.counting = proxy, counting
        self._version = 0

    def start(self, document: dict[str, Any], **environ: str) -> Proxy:
        """Serves under this policy; returns when the counts are shared."""
        self.proxy.environ |= {"LLM_PROXY_LIMITS_TIMEOUT_MS": "60000", **environ}  # machines of tests stand still
        self.proxy.prepare()
        self.write(document)
        self.counting.start()
        self.proxy.start()
        eventually(self.is_shared)
        return self.proxy

    def write(self, document: dict[str, Any]) -> None:
        row = PolicyRow(
            version=self._version + 1, document=json.dumps(document), updated_at_ms=now_ms(), updated_by="tests"
        )
        self.proxy.run(lambda stores: _write(stores, row, self._version))
        self._version += 1

    def is_shared(self) -> bool:
        workers = int(self.proxy.environ.get("LLM_PROXY_WORKERS", "1"))
        return self.proxy.log().count("shared limits are counted") >= workers


async def _write(stores: Stores, row: PolicyRow, before: int) -> None:
    assert await policies.write(stores.main, row, before)
    await changes.append(stores.main, "policy", row.id, row.updated_at_ms)


@pytest.fixture(params=["owner", pytest.param("redis", marks=pytest.mark.slow)])
def limited(request: pytest.FixtureRequest, own_proxy: Proxy) -> Iterator[Limited]:
    server = request.getfixturevalue("own_redis") if request.param == "redis" else None
    counting = Counting(own_proxy, server)
    yield Limited(own_proxy, counting)
    own_proxy.kill()
    counting.kill()


@pytest.fixture
def limited_by_redis(own_proxy: Proxy, own_redis: RedisServer) -> Iterator[Limited]:
    yield Limited(own_proxy, Counting(own_proxy, own_redis))
    own_proxy.kill()


@pytest.fixture
def limited_by_owner(own_proxy: Proxy) -> Iterator[Limited]:
    """What does not depend on who counts."""
    counting = Counting(own_proxy, None)
    yield Limited(own_proxy, counting)
    own_proxy.kill()
    counting.kill()
