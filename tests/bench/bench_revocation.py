"""How long a secret still works after /manage has said that it does not: four workers on each of two hosts, PostgreSQL.

    python -m tests.bench.bench_revocation [rounds]

The hosts are network namespaces. A connection is held to each worker and asked again and again; what is told is the
time from the answer of /manage, given by the first host, to the first refusal that a worker gave. Once with the
database's signals, and once with all of them lost (its trigger switched off).
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from msgspec import Struct

from config.secret import Secret
from config.settings import Settings
from sql import migrate
from sql.sealing import new_key
from sql.stores import open_stores
from tests.bench.hosts import Host, forwarding, hosts, why_not
from tests.support.llm_proxy import COMMAND, clean_environment, parent_of, processes
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

_WORKERS: Final = 4
_PORT: Final = 8080
_MANAGEMENT_TOKEN: Final = "the-management-token-of-this-bench"
_PAUSE_S: Final = 0.01  # between two questions to a worker: no finer is what is told
_PATIENCE_S: Final = 20.0
_BARS_MS: Final = {"with signals": 200.0, "every signal lost": 2000.0}
_TRIGGER: Final = {"with signals": "ENABLE", "every signal lost": "DISABLE"}
_REFUSED: Final = (b"401", b"403")

Act = Callable[[httpx.AsyncClient, "Given"], Awaitable[httpx.Response]]


class Given(Struct, frozen=True):
    """What a round is about."""

    project_id: str
    token_id: str
    token: str


class Worker:
    """A connection to one worker."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self._reader, self._writer = reader, writer

    @property
    def port(self) -> int:
        return int(self._writer.get_extra_info("sockname")[1])

    async def is_refused(self, token: str) -> bool:
        self._writer.write(
            f"GET /v1/models HTTP/1.1\r\nhost: {self.host.address}\r\nauthorization: Bearer {token}\r\n\r\n".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(length)
        return head[9:12] in _REFUSED

    async def refuses_at(self, token: str) -> float:
        """When its first refusal came."""
        async with asyncio.timeout(_PATIENCE_S):
            while not await self.is_refused(token):
                await asyncio.sleep(_PAUSE_S)
        return time.monotonic()

    def close(self) -> None:
        self._writer.close()


ACTS: Final[dict[str, Act]] = {
    "revoke a token": lambda client, given: client.delete(f"/manage/tokens/{given.token_id}"),
    "deactivate a project": lambda client, given: client.patch(
        f"/manage/projects/{given.project_id}", json={"is_active": False}
    ),
    "rotate without grace": lambda client, given: client.post(
        f"/manage/tokens/{given.token_id}/rotate", json={"grace": "0"}
    ),
}


async def measure(workers: list[Worker], rounds: int, act: Act) -> list[float]:
    """Milliseconds from the answer of /manage to each worker's refusal."""
    found: list[float] = []
    url = f"http://{workers[0].host.address}:{_PORT}"
    headers = {"Authorization": f"Bearer {_MANAGEMENT_TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        for _ in range(rounds):
            given = await _given(client)
            await asyncio.gather(*(_until_served(worker, given.token) for worker in workers))
            refusals = [asyncio.ensure_future(worker.refuses_at(given.token)) for worker in workers]
            (await act(client, given)).raise_for_status()
            done_at = time.monotonic()
            found += [max(0.0, (at - done_at) * 1000) for at in await asyncio.gather(*refusals)]
    return found


async def _given(client: httpx.AsyncClient) -> Given:
    project = await _made(client, "/manage/projects", {"name": f"bench {time.monotonic_ns()}"})
    token = await _made(client, "/manage/tokens", {"project_id": project["id"], "duration_minutes": 60})
    return Given(project["id"], token["id"], token["token"])


async def _made(client: httpx.AsyncClient, path: str, body: dict[str, object]) -> dict[str, Any]:
    made: dict[str, Any] = (await client.post(path, json=body)).raise_for_status().json()
    return made


async def _until_served(worker: Worker, token: str) -> None:
    """Known and remembered; without a provider's key it goes no further than 503."""
    async with asyncio.timeout(_PATIENCE_S):
        while await worker.is_refused(token):
            await asyncio.sleep(_PAUSE_S)


async def connected(host: Host, pids: list[int]) -> list[Worker]:
    """One connection to each of the workers: the kernel gives new ones to any of them."""
    wanted, found = set(pids), []
    async with asyncio.timeout(_PATIENCE_S):
        while wanted:
            worker = Worker(host, *await asyncio.open_connection(host.address, _PORT))
            await worker.is_refused("sk-nobody")
            pid = _holder(pids, worker.port)
            if pid in wanted:
                wanted.discard(pid)
                found.append(worker)
            else:
                worker.close()
    return found


def _holder(pids: list[int], port: int) -> int | None:
    """Whose end of the connection from `port` it is."""
    lines = [line.split() for line in Path(f"/proc/{pids[0]}/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in lines if line[2].endswith(f":{port:04X}")}
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(file.readlink()) in inodes:
                    return pid
    return None


@contextlib.contextmanager
def serving(host: Host, folder: Path, database_url: str, key: str) -> Iterator[list[int]]:
    """A server on that host; gives its workers' pids."""
    folder.mkdir()
    environ = clean_environment(
        DB_DRIVER="postgres",
        DATABASE_URL=database_url.replace("127.0.0.1", host.gateway),
        DATABASE_POOL_SIZE="2",
        LISTEN_ADDR=f"{host.address}:{_PORT}",
        LLM_PROXY_WORKERS=str(_WORKERS),
        MANAGEMENT_TOKEN=_MANAGEMENT_TOKEN,
        ENCRYPTION_KEY=key,
        LLM_PROXY_MANAGE_RPM="0",
    )
    command = [*host.prefix, COMMAND, "server", "--no-admin", "--no-keeper", "--no-dispatcher"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        eventually(lambda: process.poll() is not None or (len(_workers(process.pid)) == _WORKERS and _is_ready(host)))
        if process.poll() is not None:
            sys.exit((folder / "log").read_text())
        yield _workers(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _workers(supervisor: int) -> list[int]:
    mains = {pid for pid, line in processes().items() if f" _proxy {supervisor}" in line}
    return sorted(pid for pid in mains if parent_of(pid) in mains)


def _is_ready(host: Host) -> bool:
    try:
        return httpx.get(f"http://{host.address}:{_PORT}/ready", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


async def _migrated(url: str) -> None:
    stores = open_stores(Settings(db_driver="postgres", database_url=Secret(url), database_timeout_ms=60_000))
    await migrate.up(stores)
    await stores.close()


async def _run(url: str, places: list[tuple[Host, list[int]]], rounds: int) -> bool:
    workers = [worker for host, pids in places for worker in await connected(host, pids)]
    print(f"{len(workers)} workers on {len(places)} hosts, {rounds} rounds; load average {os.getloadavg()[0]:.1f}")
    print(f"{'':42} {'p50':>8} {'p99':>8} {'max':>8}")
    is_met = True
    for signals, bar_ms in _BARS_MS.items():
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(f"ALTER TABLE changes {_TRIGGER[signals]} TRIGGER changes_are_told".encode())
        for name, act in ACTS.items():
            found = await measure(workers, rounds, act)
            p99 = statistics.quantiles(found, n=100)[98]
            is_met = is_met and p99 <= bar_ms
            p50, worst = statistics.median(found), max(found)
            print(f"{name + ', ' + signals:42} {p50:5.0f} ms {p99:5.0f} ms {worst:5.0f} ms")
    for worker in workers:
        worker.close()
    return is_met


def main(rounds: int) -> int:
    if reason := why_not():
        print(f"skipped: {reason}")
        return 0
    server = PostgresServer()
    try:
        url, key = server.create_database(), new_key()
        asyncio.run(_migrated(url))
        port = int(psycopg.conninfo.conninfo_to_dict(url)["port"] or 0)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-proxy-bench-")))
            two = stack.enter_context(hosts(2))
            for host in two:
                stack.enter_context(forwarding(host.gateway, port))
            places = [(host, stack.enter_context(serving(host, folder / host.namespace, url, key))) for host in two]
            is_met = asyncio.run(_run(url, places, rounds))
    finally:
        server.remove()
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 25))
