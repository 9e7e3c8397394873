"""The test stand: an upstream, proxies and the load generator, each a process of its own on cores of its own.

With two cores or more, what is measured has the first for itself and the rest share the others; so a figure is that
of one proxy worker on one core. Children inherit the cores of whoever starts them, threads and all.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from tests.bench.load import Job, Told
from tests.support.certificates import server_tls
from tests.support.proxy import ROOT, Proxy, _seed, free_port
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

TLS_HOST: Final = "localhost"
"""A name, because nginx compares certificates with no address."""
_JOB_TIMEOUT_S: Final = 60


class LoadFailed(Exception):
    """The load generator broke off, or found answers that are none."""


def cores() -> tuple[set[int], set[int]]:
    """Those of the proxy and those of upstream and load."""
    all_of_them = sorted(os.sched_getaffinity(0))
    return (set(all_of_them[:1]), set(all_of_them[1:])) if len(all_of_them) > 1 else (set(all_of_them),) * 2


@contextlib.contextmanager
def on_cores(wanted: set[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Mock(Upstream):
    """The fast upstream, known by its ports. Whom its certificate needs trusted lies in `folder/trusted.pem`."""

    tls_port: int = 0
    folder: Path = Path()

    @property
    def tls_url(self) -> str:
        return f"https://{TLS_HOST}:{self.tls_port}"


@contextlib.contextmanager
def running_mock() -> Iterator[Mock]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-proxy-mock-")))
        server_tls(folder, TLS_HOST)
        command = [sys.executable, "-m", "tests.bench.mock_upstream", str(folder / "server.pem")]
        with on_cores(cores()[1]):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            port, tls_port = map(int, process.stdout.readline().split())
            yield Mock(port=port, tls_port=tls_port, folder=folder)
        finally:
            process.kill()
            process.wait(60)
            process.stdout.close()


class ShippedProxy(Proxy):
    """The proxy as `llm-proxy server` starts it, with /manage composed in; only its supervisor is left out."""

    def command(self) -> list[str]:
        return ["_proxy", str(os.getpid())]

    def start(self) -> "ShippedProxy":
        self.prepare()
        self.launch()
        eventually(self._is_up)
        return self

    def prepare(self) -> None:
        self.port = free_port()
        self._write_providers()
        self.project_id, self.token_id, self.token = self.run(_seed)

    def launch(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", *self.command()],
            cwd=ROOT,
            env={**self.environment(), "MANAGEMENT_TOKEN": "a-management-token-for-the-bench"},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr.log").open("ab"),
            process_group=0,  # not a session: the scheduler shares time among sessions first, and load is in ours
        )


class WholeProduct(ShippedProxy):
    """With its supervisor, keeper, dispatcher and admin."""

    def command(self) -> list[str]:
        return ["server"]


@contextlib.contextmanager
def running_proxy(
    folder: Path,
    upstream: Upstream,
    kind: type[ShippedProxy] = ShippedProxy,
    *,
    environ: Mapping[str, str] = MappingProxyType({}),
    apis: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    on: set[int] | None = None,
) -> Iterator[Proxy]:
    """A proxy with one worker and the settings as they are shipped, apart from room for a long run's events.

    `apis` changes entries of the providers file; `on` are its cores, if not the one of what is measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    roomy = {
        "LLM_PROXY_SPOOL_SEGMENT_BYTES": str(32 * 1024 * 1024),
        "LLM_PROXY_SPOOL_MAX_BYTES": str(32 * 1024**3),
        "ADMIN_UI_LISTEN_ADDR": f"127.0.0.1:{free_port()}",
    }
    proxy = kind(folder, upstream, environ={**roomy, **environ}, apis={**_apis(upstream), **apis})
    with on_cores(on or cores()[0]):
        proxy.start()
    try:
        yield proxy
    finally:
        proxy.kill()


def _apis(upstream: Upstream) -> dict[str, dict[str, Any]]:
    """One of the providers is reached over TLS, if the upstream speaks it."""
    if not isinstance(upstream, Mock):
        return {}
    connection = {"ca_file": str(upstream.folder / "trusted.pem")}
    return {"openrouter": {"base_url": upstream.tls_url, "connection": connection}}


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def do(job: Job) -> Told:
    """Runs the load generator; raises when it fails or finds an answer that is none."""
    with on_cores(cores()[1]):
        command = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(job).decode()]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=_JOB_TIMEOUT_S, check=False)
    if done.returncode:
        raise LoadFailed(done.stderr.decode().strip().rpartition("\n")[2])
    told = msgspec.json.decode(done.stdout, type=Told)
    if told.errors:
        raise LoadFailed(
            f"{told.errors} times it was not {job.status} but {told.error.partition(chr(13))[0] or 'nothing'}"
        )
    return told
