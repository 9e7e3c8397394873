"""A real proxy for tests: one Granian worker in a process of its own, a fresh data folder, a seeded project.

The database is reached directly, as the admin would. Events are read from the spool, where they must be before the
client has its last byte.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
import yaml
import zstandard

from bus.codec import decode_began, decode_finished
from bus.event import ExchangeBegan, ExchangeFinished
from bus.frames import Codec, Kind, seed_of
from bus.segments import SegmentReader, list_segments
from config import paths
from config.ids import id_bytes, new_id, new_token
from config.load import load_settings
from config.secret import Secret
from config.settings import Settings
from sql import migrate
from sql.repositories import api_keys, changes, projects, tokens
from sql.rows import ApiKeyRow, ProjectRow, TokenRow
from sql.sealing import hash_token, token_hint
from sql.stores import Stores, open_stores
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
API_KEY = "sk-upstream-key-never-shown-to-clients"
AUTH: dict[str, dict[str, str]] = {
    "anthropic": {"header": "x-api-key", "scheme": ""},
    "gemini": {"header": "x-goog-api-key", "scheme": "", "query": "key"},
    "azure": {"header": "api-key", "scheme": ""},
}
DIALECTS = {"anthropic": "anthropic", "gemini": "gemini"}
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LLM_PROXY_UPSTREAM_CLIENT")
"""The last of them so that all tests can be run on either client."""
PROVIDERS = ("openai", "anthropic", "gemini", "azure", "openrouter")


@dataclass
class Proxy:
    folder: Path
    upstream: Upstream
    environ: dict[str, str] = field(default_factory=dict)
    apis: dict[str, dict[str, Any]] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    token: str = ""
    token_id: str = ""
    project_id: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment())

    def prepare(self) -> None:
        """Its files and its database; `start` does it, too."""
        self.port = self.port or free_port()
        self._write_providers()
        if not self.project_id:
            self.project_id, self.token_id, self.token = self.run(_seed)

    def start(self) -> "Proxy":
        self.prepare()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.run_proxy"],
            cwd=ROOT,
            env=self.environment(),
            stderr=(self.folder / "stderr.log").open("ab"),
            start_new_session=True,
        )
        eventually(self._is_up)
        return self

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
            self.process = None

    def client(self, **options: Any) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)

    def run(self, act: Callable[[Stores], Awaitable[T]]) -> T:
        """Runs something against the proxy's own database."""

        async def running() -> T:
            stores = open_stores(self.settings)
            try:
                return await act(stores)
            finally:
                await stores.close()

        return asyncio.run(running())

    def new_token(self, **changed: Any) -> tuple[str, str]:
        """Another token of the project: its id and itself."""
        return self.run(lambda stores: make_token(stores, self.project_id, **changed))

    def events(self) -> list[ExchangeFinished]:
        """Every event in the spool, in the order of recording."""
        return [decode_finished(payload) for kind, payload in self._frames() if kind == Kind.FINISHED]

    def begun(self) -> list[ExchangeBegan]:
        """Every note of an exchange that was accepted, whether it ended or not."""
        return [decode_began(payload) for kind, payload in self._frames() if kind == Kind.BEGAN]

    def event(self, event_id: str) -> ExchangeFinished:
        """The one event of an exchange; waits for it a moment, since a failed exchange is recorded after its reply."""
        found: list[ExchangeFinished] = []

        def is_there() -> bool:
            found[:] = [e for e in self.events() if e.event_id == event_id]
            return bool(found)

        eventually(is_there)
        assert len(found) == 1
        return found[0]

    def event_of(self, response: httpx.Response) -> ExchangeFinished:
        return self.event(response.headers["x-llm-proxy-event-id"])

    def log(self) -> str:
        return (self.folder / "stderr.log").read_text()

    def _frames(self) -> list[tuple[int, bytes]]:
        folders = sorted(paths.spool_root(self.settings).iterdir())
        return [frame for folder in folders for frame in _frames_in(folder)]

    def _is_up(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.url}/live", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k in _INHERITED}
        return {
            **kept,
            "ENV": str(self.folder / "no.env"),
            "DATA_DIR": str(self.folder),
            "LISTEN_ADDR": f"127.0.0.1:{self.port or 1}",
            "API_CONFIG_PATH": str(self.folder / "providers.yaml"),
            "LLM_PROXY_SPOOL_SEGMENT_BYTES": "4194304",
            "LLM_PROXY_DATABASE_TIMEOUT_MS": "60000",  # the machines of tests stand still at times
            **self.environ,
        }

    def _write_providers(self) -> None:
        apis = {name: {**_api(name, self.upstream.url), **self.apis.get(name, {})} for name in PROVIDERS}
        text = yaml.safe_dump({"default_api": "openai", "apis": apis})
        (self.folder / "providers.yaml").write_text(text)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def make_token(stores: Stores, project_id: str, **changed: Any) -> tuple[str, str]:
    token = new_token()
    row = TokenRow(
        id=new_id(),
        project_id=project_id,
        token_hash=hash_token(token),
        hint=token_hint(token),
        is_active=True,
        expires_at_ms=None,
        max_requests=None,
        request_count=0,
        cache_hit_count=0,
        created_at_ms=now_ms(),
        last_used_at_ms=None,
        deactivated_at_ms=None,
    )
    row = msgspec.structs.replace(row, **changed)
    await tokens.create(stores.main, row)
    await changes.append(stores.main, "token", row.token_hash, now_ms())
    return row.id, token


async def make_project(stores: Stores, name: str, **changed: Any) -> str:
    """A project with an API key for each provider, recording in full."""
    row = ProjectRow(
        id=new_id(),
        name=name,
        is_active=True,
        recording="full",
        created_at_ms=now_ms(),
        updated_at_ms=now_ms(),
        deactivated_at_ms=None,
    )
    row = msgspec.structs.replace(row, **changed)
    await projects.create(stores.main, row)
    for provider in PROVIDERS:
        key = ApiKeyRow(
            id=new_id(),
            project_id=row.id,
            provider=provider,
            key=Secret(API_KEY),
            weight=1,
            created_at_ms=now_ms(),
            updated_at_ms=now_ms(),
        )
        await api_keys.create(stores.main, stores.sealer, key)
    await changes.append(stores.main, "project", row.id, now_ms())
    return row.id


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _seed(stores: Stores) -> tuple[str, str, str]:
    await migrate.up(stores)
    project_id = await make_project(stores, "tests")
    token_id, token = await make_token(stores, project_id)
    return project_id, token_id, token


def _api(name: str, url: str) -> dict[str, Any]:
    api: dict[str, Any] = {
        "base_url": url,
        "allowed_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allowed_endpoints": ["/v1", "/v1beta", "/openai"],
        "timeouts": {"connect": "60s", "response_header": "60s", "idle": "60s"},
        "dialect": DIALECTS.get(name, "openai"),
    }
    return {**api, "auth": AUTH[name]} if name in AUTH else api


def _frames_in(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of a spool's frames."""
    if not folder.is_dir() or folder.name.startswith("."):
        return
    seed = seed_of(id_bytes(folder.name))
    for index in list_segments(folder):
        reader, offset = SegmentReader(folder, index, seed), 0
        while (scan := reader.read(offset, is_sealed=False)).used:
            offset += scan.used
            for frame in scan.frames:
                plain = frame.payload if frame.codec == Codec.PLAIN else zstandard.decompress(frame.payload)
                yield frame.kind, plain
        reader.close()


@pytest.fixture(scope="module")
def shared_proxy(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One proxy for all tests of a module; they tell their exchanges apart by event id."""
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), shared_upstream)
    try:
        yield proxy.start()
    finally:
        proxy.kill()


@pytest.fixture
def proxy(shared_proxy: Proxy, upstream: Upstream) -> Proxy:
    """The module's proxy, in front of an upstream with an empty script."""
    return shared_proxy


@pytest.fixture
def own_proxy(upstream: Upstream, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy of the test's own, not started: it may change `environ` and `apis` first."""
    proxy = Proxy(tmp_path, upstream)
    yield proxy
    proxy.kill()
