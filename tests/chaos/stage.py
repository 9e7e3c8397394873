"""Everything a round needs, started for real: upstream, databases, the whole `llm-proxy server`, and the load.

load generator ──► server (workers ──► spools ──► keeper: relay, log, dispatcher) ──► file, database, webhook
                      └──► mock upstream                              the nemesis breaks any of it, by pid
"""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import yaml
from msgspec.structs import replace

from bus.errors import BusUnavailable
from bus.inspection import Inspection, KeeperStats
from config.load import load_settings
from config.settings import Settings
from sql import migrate
from sql.repositories import policies
from sql.rows import PolicyRow
from sql.stores import open_stores
from tests.chaos.arrivals import Arrivals, DatabaseArrivals, FileArrivals, Outstanding, SinkArrivals
from tests.chaos.calls import chat
from tests.chaos.disks import Disks, mounted
from tests.chaos.evidence import POISON, Diary, Tail
from tests.chaos.nemesis_calls import OpenStream, ask, cuts_in_file
from tests.chaos.ports import Port
from tests.chaos.processes import ROOT, Process, python
from tests.chaos.redis_pair import RedisPair
from tests.chaos.shapes import Shape
from tests.chaos.sink import LOG, MODE
from tests.support.llm_proxy import COMMAND, Server, clean_environment, is_ready
from tests.support.postgres import PostgresServer
from tests.support.proxy import make_project, make_token
from tests.support.waiting import eventually

EXACTLY, SEATS = 4, 2
_TICK_S = 0.05


class Stage:
    def __init__(self, shape: Shape, folder: Path, *, seed: int, per_second: float, connections: int = 8) -> None:
        self.shape, self.folder, self.seed = shape, folder, seed
        self.out = folder / "out"
        self.disks = Disks(data=folder / "data", databases=folder / "databases")
        self._ports = [Port() for _ in range(4)]
        self.port, self.admin_port, self._upstream_port, self._sink_port = (port.number for port in self._ports)
        self.upstream_pace = (per_second, connections)
        self.more_environ: dict[str, str] = {}
        self.postgres: PostgresServer | None = None
        self.redis: RedisPair | None = None
        self.database_url = ""
        self.server_process: Process | None = None
        self._tickers: list[Callable[[], None]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._set_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        return load_settings(self.environ())

    def environ(self, **more: str) -> dict[str, str]:
        database = {"DB_DRIVER": "postgres", "DATABASE_URL": self.database_url} if self.database_url else {}
        redis = {"REDIS_URL": self.redis.url} if self.redis else {}
        own = {
            "ENV": os.devnull,
            "MANAGEMENT_TOKEN": "chaos-management-token-of-this-round",
            "LISTEN_ADDR": f"127.0.0.1:{self.port}",
            "ADMIN_UI_LISTEN_ADDR": f"127.0.0.1:{self.admin_port}",
            "DATA_DIR": str(self.disks.data),
            "DATABASE_PATH": str(self.disks.databases / "llm-proxy.db"),
            "FILE_EVENT_LOG": str(self.out / "events.jsonl"),
            "WEBHOOK_URL": f"http://127.0.0.1:{self._sink_port}/events",
            "WEBHOOK_SECRET": "chaos-signs-with-this",
            "API_CONFIG_PATH": str(self.folder / "providers.yaml"),
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).with_name("stepped_clock")), str(ROOT))),
            "CHAOS_CLOCK": str(self.folder / "clock"),
        }
        return clean_environment(**{**own, **self.shape.settings(), **database, **redis, **self.more_environ, **more})

    def start_server(self) -> None:
        """And waits until it serves and its keeper answers."""
        self.server_process = Process([COMMAND, "server"], log=self.folder / "server.log", environ=self.environ())
        self.server = Server(self.folder, self.server_process.started)
        eventually(self._is_up)

    @property
    def running(self) -> Process:
        assert self.server_process
        return self.server_process

    def _is_up(self) -> bool:
        assert self.running.started.poll() is None, (self.folder / "server.log").read_text()[-3000:]
        return is_ready(self.url) and self.stats() is not None

    def _look(self) -> bool:
        if stats := self.stats():
            self._looked = stats
        return stats is not None

    def stats(self) -> KeeperStats | None:
        """None while no keeper answers."""
        with suppress(BusUnavailable):
            return asyncio.run(Inspection(self.disks.data / "keeper.sock").stats())
        return None

    def pid(self, name: str) -> int:
        """The main process of one kind; waits until there is one."""
        return self.pids(name)[0]

    def pids(self, name: str, *, at_least: int = 1) -> list[int]:
        eventually(lambda: len(self.server.pids(name)) >= at_least)
        return self.server.pids(name)

    def workers(self) -> list[int]:
        """All of them; waits until they are complete."""
        return self.pids("proxy", at_least=1 + self.shape.workers)[1:]

    def start_load(self) -> None:
        per_second, connections = self.upstream_pace
        load = {
            "folder": str(self.folder), "port": self.port, "token": self.token, "seed": self.seed,
            "per_second": per_second, "connections": connections,
        }  # fmt: skip
        argv = python("tests.chaos.loadgen", msgspec.json.encode(load).decode())
        self.load = Process(argv, log=self.folder / "load.log")
        self._stack.callback(self.load.kill)
        eventually(lambda: self.outstanding.look() and self.outstanding.acked > 20)

    @property
    def stream(self) -> str:
        """The key of the events in Redis."""
        return f"{{{self.settings.redis_stream_key}}}:evt"

    def lines_of(self, name: str) -> Tail:
        """What is written to a file of the round from now on."""
        tail = Tail(self.folder / name)
        tail.lines()
        return tail

    def also_kill(self, process: Process) -> None:
        """At the end of the round."""
        self._stack.callback(process.kill)

    @contextmanager
    def ticking(self, act: Callable[[], None]) -> Iterator[None]:
        """`act` is done again and again while the fault lasts."""
        self._tickers.append(act)
        try:
            yield
        finally:
            self._tickers.remove(act)

    def hold(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for act in self._tickers:
                act()
            time.sleep(min(_TICK_S, left))

    def admitted(self) -> int:
        """Events that the ledger says are lost; waits for the keeper to answer."""
        return admitted(self.looked(), is_redis=self.redis is not None)

    def looked(self) -> KeeperStats:
        """Waits for the keeper to answer."""
        eventually(self._look)
        return self._looked

    def waits(self, backend: str) -> bool:
        """Whether the dispatcher has given up delivering to it for the moment."""
        return any(known.name == backend and known.state == "waiting" for known in self.looked().backends)

    @property
    def deliverer(self) -> str:
        """The kind of process that delivers to the backends."""
        return "dispatcher" if self.redis else "keeper"

    def parked(self, backend: str) -> int:
        """Events in its parking lots."""
        return sum(group.parked for group in self.looked().bus.groups if group.name == backend)

    def call(self, **more: Any) -> int:
        """The status of one more call; 0 when no whole reply came."""
        return self._ask(**more)[0]

    def call_and_find(self, *backends: str) -> None:
        """One more call, whose event must come to these backends."""
        status, event_id = self._ask()
        assert status == 200
        for backend in backends:
            eventually(lambda at=backend: self.arrivals[at].of({event_id}))  # type: ignore[misc]

    def poison(self, backend: str, *, said: str) -> None:
        """A call whose event that backend must bury, and no other one."""
        call = chat(self.token, f"{said}-{uuid.uuid4().hex}-")
        with (self.folder / POISON).open("a") as file:
            file.write(f"{backend} {call.request_id}\n")
        status, event_id = ask(self.port, call, self.diary)
        assert status == 200
        self.outstanding.excuse(backend, event_id)

    def call_limited(self, *, user: str) -> int:
        """The status of a call of which EXACTLY so many pass for each user."""
        return self._ask(token=self.limited_token, user=user)[0]

    def call_seated(self) -> int:
        """The status of a call of which SEATS may be open at once."""
        return self._ask(token=self.seated_token)[0]

    def open_seated(self) -> OpenStream:
        return self.open_stream(token=self.seated_token)

    def _ask(self, *, token: str = "", **more: Any) -> tuple[int, str]:
        return ask(self.port, chat(token or self.token, f"nemesis-{uuid.uuid4().hex}-", **more), self.diary)

    def open_stream(self, *, token: str = "") -> OpenStream:
        nonce = f"open-{uuid.uuid4().hex}"
        call = chat(token or self.token, nonce, streamed=True, directions="chunks=600;gap_ms=50")
        return OpenStream(self.port, call, self.diary)

    def cuts_in_file(self, request_ids: set[str]) -> dict[str, list[str]]:
        return cuts_in_file(self.out, request_ids)

    def run_ours(self, *arguments: str) -> tuple[int, str]:
        """Another process of the program beside the server: its exit code and all that it said."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "app.cli.main", *arguments],
            cwd=self.folder, env=self.environ(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def _set_up(self, stack: ExitStack) -> None:
        for port in self._ports:
            stack.callback(port.close)
        there = self.out.with_name("out.there")
        there.mkdir(parents=True)
        self.out.symlink_to(there)  # so that a fault can put something else in its place at once
        (self.folder / "clock").write_bytes(bytes(8))
        if self.shape.on_small_disks:
            stack.enter_context(mounted(self.disks))
        self.disks.data.mkdir(exist_ok=True)
        self.disks.databases.mkdir(exist_ok=True)
        if self.shape.on_postgres:
            self.postgres = PostgresServer()
            stack.callback(self.postgres.remove)
            self.database_url = self.postgres.create_database()
        if self.shape.bus == "redis":
            self.redis = RedisPair(self.seed)
            stack.callback(self.redis.close)
        (self.folder / "providers.yaml").write_text(yaml.safe_dump(_providers(self._upstream_port)))
        self.upstream = Process(
            python("tests.chaos.mock_upstream", str(self._upstream_port)), log=self.folder / "upstream.log"
        )
        stack.callback(lambda: self.upstream.kill())
        (self.folder / MODE).write_text("ok")
        argv = python("tests.chaos.sink", str(self._sink_port), str(self.folder))
        self.sink = Process(argv, log=self.folder / "sink.err.log")
        stack.callback(self.sink.kill)
        tokens = asyncio.run(_seed(replace(self.settings, database_timeout_ms=60_000)))
        self.token, self.limited_token, self.seated_token = tokens
        self.diary = stack.enter_context(Diary(self.folder, "nemesis"))
        self.arrivals = self._arrivals()
        self.outstanding = Outstanding(self.folder, self.arrivals)
        stack.callback(self._kill_server)
        self.start_server()

    def _kill_server(self) -> None:
        if self.server_process:
            self.server_process.kill()

    def restart_with(self, **environ: str) -> None:
        """SIGTERM, and up again with other settings; without any, with the round's own."""
        self.running.stop()
        self.more_environ = environ
        self.start_server()

    def _arrivals(self) -> dict[str, Arrivals]:
        where = self.database_url or self.disks.databases / "records.db"
        return {
            "database": DatabaseArrivals(where),
            "file": FileArrivals(self.out),
            "webhook": SinkArrivals(self.folder / LOG),
        }


def _policy(*, limited: str, seated: str) -> dict[str, Any]:
    """All calls are limited, but by more than there are."""
    once = {"measure": "requests", "most": EXACTLY, "window": "24h", "per": ["end_user"], "only": {"token": [limited]}}
    seats = {"measure": "parallel", "most": SEATS, "only": {"token": [seated]}}
    everything = {"measure": "tokens", "most": 1e9, "window": "1m", "per": ["token"]}
    exact = {"when_away": "closed"}
    return {
        "limits": [
            {"name": "once", **once, **exact},
            {"name": "seats", **seats, **exact},
            {"name": "everything", **everything},
        ]
    }


def admitted(stats: KeeperStats, *, is_redis: bool) -> int:
    """What the ledger says is lost. What Redis forgot and no spool has any more was delivered, or it is a real loss."""
    forgotten = 0 if is_redis else int(stats.relay["unrecoverable"])
    return sum(stats.relay["dropped"].values()) + int(stats.relay["lost"]) + forgotten


def _providers(port: int) -> dict[str, Any]:
    api = {
        "base_url": f"http://127.0.0.1:{port}",
        "dialect": "openai",
        "allowed_methods": ["GET", "POST"],
        "allowed_endpoints": ["/v1/chat"],
        "timeouts": {"connect": "2s", "response_header": "30s", "idle": "30s"},
    }
    return {"default_api": "openai", "apis": {"openai": api}}


async def _seed(settings: Settings) -> list[str]:
    """A project with three tokens, made before the server is up: one that meets no limit, and two that do."""
    stores = open_stores(settings)
    try:
        await migrate.up(stores)
        project_id = await make_project(stores, "chaos")
        made = [await make_token(stores, project_id) for _ in range(3)]
        document = msgspec.json.encode(_policy(limited=made[1][0], seated=made[2][0])).decode()
        policy = PolicyRow(version=1, document=document, updated_at_ms=0, updated_by="chaos")
        assert await policies.write(stores.main, policy, 0)
        return [token for _, token in made]
    finally:
        await stores.close()
