"""Whatever passes through a worker, its memory stays where it was: large bodies, long streams, sides that do not read.

Sizes are of the upstream's and client's own processes, so that only the worker's memory is looked at.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.bench.load import Job, head
from tests.bench.memory import MIB, Watch, worker_pid
from tests.bench.stand import do, running_mock, running_proxy
from tests.support.proxy import Proxy
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("memory")]

MAX_GROWTH = 40 * MIB
SIZE = 200 * MIB
LEAVERS = 700
STALLED = 4
"""Clients at once that do not read."""


def held_on_the_way() -> int:
    """At most, of one body that nobody takes: the kernel's buffers of two connections, and a little of ours."""
    most = (Path(f"/proc/sys/net/ipv4/tcp_{end}mem").read_text().split()[-1] for end in "rw")
    return 2 * sum(map(int, most)) + 16 * MIB


@pytest.fixture(scope="module")
def mock() -> Iterator[Upstream]:
    with running_mock() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def worker(mock: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that has been used a little: what is loaded at first use is no growth."""
    with running_proxy(tmp_path_factory.mktemp("proxy"), mock) as proxy:
        do(Job(kind="json", port=proxy.port, token=proxy.token, concurrency=8, seconds=1))
        do(Job(kind="upload", port=proxy.port, token=proxy.token, size=8 * MIB))
        do(Job(kind="download", port=proxy.port, token=proxy.token, size=8 * MIB))
        yield proxy


def connected(worker: Proxy, request: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", worker.port), 60)
    client.sendall(request)
    return client


def leave(worker: Proxy, request: bytes, times: int) -> None:
    """As soon as the reply has begun."""
    for _ in range(times):
        with contextlib.closing(connected(worker, request)) as client:
            assert client.recv(12) == b"HTTP/1.1 200"


def taken_from(mock: Upstream) -> int:
    """Bytes of content, and events, that the upstream has been able to send so far."""
    sent: int = httpx.get(f"{mock.url}/sent", timeout=60).json()["sent"]
    return sent


def has_stopped(mock: Upstream) -> bool:
    """Whether the upstream sends nothing any more."""
    before = taken_from(mock)
    with contextlib.suppress(AssertionError):
        eventually(lambda: taken_from(mock) != before, within_s=0.5)
        return False
    return True


@pytest.mark.parametrize("kind", ["upload", "download"])
def test_a_body_of_200_mib_leaves_the_workers_memory_flat(worker: Proxy, kind: str) -> None:
    job = Job(kind=kind, port=worker.port, token=worker.token, size=SIZE)

    with Watch(worker_pid(worker)) as seen:
        told = do(job)

    assert told.count == SIZE
    assert seen.growth < MAX_GROWTH


def test_a_long_stream_leaves_the_workers_memory_flat(worker: Proxy) -> None:
    job = Job(kind="streams", port=worker.port, token=worker.token, events=100_000, gap_ms=0)

    with Watch(worker_pid(worker)) as seen:
        do(job)

    assert seen.growth < MAX_GROWTH


def test_many_exchanges_leave_the_workers_memory_flat(worker: Proxy) -> None:
    job = Job(kind="json", port=worker.port, token=worker.token, concurrency=16, seconds=3)
    do(job)

    with Watch(worker_pid(worker)) as seen:
        do(job)

    assert seen.growth < MAX_GROWTH


def test_clients_that_leave_leave_nothing_behind(worker: Proxy) -> None:
    request = head(
        Job(kind="streams", port=worker.port, token=worker.token),
        "POST",
        "/v1/chat/completions?events=2&gap_ms=5000",
        2,
    )
    leave(worker, request + b"{}", 100)

    with Watch(worker_pid(worker)) as seen:
        leave(worker, request + b"{}", LEAVERS)

    assert seen.after.rss - seen.before.rss < LEAVERS * 10_000


def test_clients_that_do_not_read_hold_the_upstream_and_fill_no_memory(worker: Proxy, mock: Upstream) -> None:
    job = Job(kind="download", port=worker.port, token=worker.token)
    eventually(lambda: has_stopped(mock))  # what those before have begun
    before = taken_from(mock)

    request = head(job, "GET", f"/v1/files/f/content?bytes={SIZE}", 0)

    with contextlib.ExitStack() as stack, Watch(worker_pid(worker)) as seen:
        clients = [stack.enter_context(contextlib.closing(connected(worker, request))) for _ in range(STALLED)]
        eventually(lambda: taken_from(mock) > before)
        eventually(lambda: has_stopped(mock))
        taken = taken_from(mock) - before
        heads = [client.recv(12) for client in clients]

    assert heads == [b"HTTP/1.1 200"] * STALLED
    assert seen.growth < MAX_GROWTH
    assert taken < STALLED * held_on_the_way()


def test_a_client_that_does_not_read_its_stream_fills_no_memory(worker: Proxy, mock: Upstream) -> None:
    job = Job(kind="streams", port=worker.port, token=worker.token)
    request = head(job, "POST", "/v1/chat/completions?events=1000000&gap_ms=0", 2) + b"{}"
    eventually(lambda: has_stopped(mock))  # what those before have begun
    before = taken_from(mock)

    with contextlib.closing(connected(worker, request)), Watch(worker_pid(worker)) as seen:
        eventually(lambda: taken_from(mock) > before)
        eventually(lambda: has_stopped(mock))

    assert taken_from(mock) - before < 200_000
    assert seen.growth < MAX_GROWTH


def test_an_upstream_that_does_not_read_holds_the_client_and_fills_no_memory(worker: Proxy) -> None:
    job = Job(kind="upload", port=worker.port, token=worker.token)
    sent = 0

    with contextlib.closing(connected(worker, head(job, "POST", "/v1/files?stall=1", SIZE))) as client:
        client.settimeout(1)
        with Watch(worker_pid(worker)) as seen, pytest.raises(TimeoutError):
            while sent < SIZE:
                sent += client.send(bytes(256 * 1024))

    assert sent < held_on_the_way(), "the client was told to wait"
    assert seen.growth < MAX_GROWTH
