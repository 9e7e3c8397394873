"""What runs beside the requests must never end the recording while the worker goes on serving."""

import asyncio
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app import main
from tests.support.llm_proxy import parent_of, processes
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

_ROUND_S = 1.3  # longer than the second between two snapshots of the metrics


def _worker_of(proxy: Proxy) -> int:
    assert proxy.process
    return next(pid for pid in processes() if parent_of(pid) == proxy.process.pid)


@contextmanager
def _no_new_files(pid: int) -> Iterator[None]:
    allowed = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, allowed[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, allowed)


@pytest.mark.slow
def test_a_worker_that_was_out_of_files_records_again(own_proxy: Proxy) -> None:
    proxy = own_proxy.start()
    with proxy.client() as client:
        client.post("/v1/chat/completions", json={"model": "m"})

        with _no_new_files(_worker_of(proxy)):
            time.sleep(_ROUND_S)
        response = client.post("/v1/chat/completions", json={"model": "m"})

    assert proxy.event_of(response).status == 200
    assert "this worker ends" not in proxy.log()


async def test_a_loop_that_fails_ends_the_worker_and_not_its_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: told.append(number))

    async def fail() -> None:
        raise RuntimeError("not foreseen")

    async with main._running(fail()):
        await asyncio.to_thread(eventually, lambda: told)
        is_still_inside = True

    assert is_still_inside
    assert told == [signal.SIGTERM]
