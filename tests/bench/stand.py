"""The test stand: an upstream, proxies and the load generator, each a process of its own on cores of its own.

With two cores or more, what is measured has the first for itself and the rest share the others; so a figure is that
of one proxy worker on one core. Children inherit the cores of whoever starts them, threads and all.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec

from tests.bench.load import Job, Told
from tests.bench.memory import cpu_seconds
from tests.support.proxy import ROOT, Proxy, _seed, free_port
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

_JOB_TIMEOUT_S = 60


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


@contextlib.contextmanager
def running_mock() -> Iterator[Upstream]:
    """The fast upstream, known by its port."""
    with on_cores(cores()[1]):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.mock_upstream"], cwd=ROOT, stdout=subprocess.PIPE
        )
    assert process.stdout is not None
    try:
        yield Upstream(port=int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


class ShippedProxy(Proxy):
    """The proxy as `llm-proxy server` starts it, with /manage composed in; only its supervisor is left out."""

    def start(self) -> "ShippedProxy":
        self.port = free_port()
        self._write_providers()
        self.project_id, self.token_id, self.token = self.run(_seed)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", "_proxy", str(os.getpid())],
            cwd=ROOT,
            env={**self._environ(), "MANAGEMENT_TOKEN": "a-management-token-for-the-bench"},
            stderr=(self.folder / "stderr.log").open("ab"),
            process_group=0,  # not a session: the scheduler shares time among sessions first, and load is in ours
        )
        eventually(self._is_up)
        return self


@contextlib.contextmanager
def running_proxy(folder: Path, upstream: Upstream, **environ: str) -> Iterator[Proxy]:
    """A proxy with one worker and the settings as they are shipped, apart from `environ`."""
    folder.mkdir(parents=True, exist_ok=True)
    proxy = ShippedProxy(folder, upstream, environ={"LLM_PROXY_SPOOL_SEGMENT_BYTES": str(32 * 1024 * 1024), **environ})
    with on_cores(cores()[0]):
        proxy.start()
    try:
        yield proxy
    finally:
        proxy.kill()


def do(job: Job) -> Told:
    """Runs the load generator; raises when it fails or finds an answer that is none."""
    with on_cores(cores()[1]):
        command = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(job).decode()]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=_JOB_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    told = msgspec.json.decode(done.stdout, type=Told)
    if told.errors:
        raise RuntimeError(f"{told.errors} answers of {told.count} were none: {job.kind}, {job.concurrency} at once")
    return told


def do_and_cost(job: Job, pid: int) -> tuple[Told, float]:
    """And the processor time of a worker meanwhile, in microseconds for each answer or chunk."""
    before = cpu_seconds(pid)
    told = do(job)
    return told, (cpu_seconds(pid) - before) / max(told.count, 1) * 1e6


def record_seconds(proxy: Proxy) -> tuple[float, int, list[tuple[float, int]]]:
    """llm_proxy_record_seconds so far: sum, count, and (upper bound, count up to it)."""
    text = httpx.get(f"{proxy.url}/metrics/prometheus", timeout=60).text
    buckets = re.findall(r'llm_proxy_record_seconds_bucket\{le="([^"]+)"\} (\d+)', text)
    total = re.search(r"llm_proxy_record_seconds_sum (\S+)", text)
    count = re.search(r"llm_proxy_record_seconds_count (\d+)", text)
    if total is None or count is None:
        return 0.0, 0, []
    return float(total[1]), int(count[1]), [(float(b), int(n)) for b, n in buckets]
