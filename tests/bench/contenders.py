"""What is compared, and how each is started: one at a time is awake, on the core that they all share.

The others are stopped by signal, so that neither their timers nor what they have yet to deliver take its time.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.bench import nginx, peers
from tests.bench.cases import AGAIN, TLS_PREFIX, Case
from tests.bench.load import Job
from tests.bench.memory import family
from tests.bench.stand import Mock, WholeProduct, answers, cores, on_cores, running_proxy
from tests.support.proxy import Proxy, free_port
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import eventually

_PEERS_WARM_UP_S: Final = 4.0


class Cannot(Exception):
    """Says why a contender is not measured, or not in this case."""


class Contender(Struct, frozen=True):
    name: str
    pid: int
    """The oldest of its processes; 0 when there is none between load and upstream."""
    job: Callable[[Case, float], Job]
    """For a case and seconds. Raises Cannot."""
    warm_up_s: float = 0
    """Once, before the first case."""


class Field(Struct, frozen=True):
    contenders: list[Contender]
    absent: dict[str, str]
    """Name to reason."""
    proxy: Proxy
    """Ours, which is among the contenders."""

    @property
    def ours(self) -> Contender:
        return next(c for c in self.contenders if c.name == "ours")


@contextlib.contextmanager
def awake(contender: Contender) -> Iterator[None]:
    if not contender.pid:
        yield
        return
    _signal(contender.pid, signal.SIGCONT)
    try:
        yield
    finally:
        _signal(contender.pid, signal.SIGSTOP)


def _put_to_sleep(contenders: Iterable[Contender]) -> None:
    for contender in contenders:
        _signal(contender.pid, signal.SIGSTOP)


def _signal(pid: int, number: signal.Signals) -> None:
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, number)


@contextlib.contextmanager
def running_field(folder: Path, mock: Mock) -> Iterator[Field]:
    """All that can run here, asleep."""
    with contextlib.ExitStack() as stack:
        absent: dict[str, str] = {}
        ours = stack.enter_context(running_proxy(folder / "ours", mock))
        found = [Contender("direct", 0, lambda case, s: _direct(case, s, mock)), _proxied("ours", ours)]
        for name, more in ((AGAIN, {}), ("ours, unrecorded", {"OBSERVABILITY_ENABLED": "false"})):
            found.append(_proxied(name, stack.enter_context(running_proxy(folder / name, mock, environ=more))))
        for name, start in (("nginx", _start_nginx), ("LiteLLM", _start_litellm), ("Portkey", _start_portkey)):
            try:
                found.append(start(folder, mock, stack))
            except Cannot as reason:
                absent[name] = str(reason)
        _put_to_sleep(found[1:])
        yield Field(found, absent, ours)


@contextlib.contextmanager
def running_whole(folder: Path, mock: Mock) -> Iterator[list[Contender]]:
    """The whole product, all of it on the one core; Redis is on the other."""
    with contextlib.ExitStack() as stack:
        with on_cores(cores()[1]):
            redis = RedisServer(next(iter(binaries().values())))
        stack.callback(redis.remove)
        found = []
        for name, more in (("whole, embedded bus", {}), ("whole, Redis bus", {"REDIS_URL": redis.url})):
            product = stack.enter_context(running_proxy(folder / name, mock, WholeProduct, environ=more))
            found.append(_proxied(name, product))
        _put_to_sleep(found)
        yield found


@contextlib.contextmanager
def running_scaled(folder: Path, mock: Mock) -> Iterator[list[Contender]]:
    """One worker and two, on all cores, where load and upstream are as well."""
    everywhere = set().union(*cores())
    with contextlib.ExitStack() as stack:
        found = []
        for name, workers in (("1 worker", "1"), ("2 workers", "2")):
            more = {"LLM_PROXY_WORKERS": workers}
            proxy = stack.enter_context(running_proxy(folder / name, mock, environ=more, on=everywhere))
            found.append(_proxied(name, proxy))
        _put_to_sleep(found)
        yield found


def _direct(case: Case, seconds: float, mock: Mock) -> Job:
    if case.is_refused or case.is_tls:
        raise Cannot("it is no proxy")
    return case.job(mock.port, "", seconds)


def _proxied(name: str, proxy: Proxy) -> Contender:
    assert proxy.process is not None
    return Contender(name, proxy.process.pid, lambda case, seconds: case.job(proxy.port, proxy.token, seconds))


def _start_nginx(folder: Path, mock: Mock, stack: contextlib.ExitStack) -> Contender:
    if nginx.installed() is None:
        raise Cannot("not installed (Debian: apt install nginx-light)")
    port = free_port()
    process = _started(
        stack,
        lambda: nginx.start(
            folder / "nginx",
            listen=port,
            ports=(mock.port, mock.tls_port),
            trusted=mock.folder / "trusted.pem",
            tls_prefix=TLS_PREFIX,
        ),
        port,
    )
    return Contender("nginx", process.pid, lambda case, seconds: case.job(port, nginx.TOKEN, seconds))


def _start_litellm(folder: Path, mock: Mock, stack: contextlib.ExitStack) -> Contender:
    if not peers.LITELLM.exists():
        raise Cannot("not installed (make bench-peers)")
    port = free_port()
    process = _started(stack, lambda: peers.start_litellm(folder / "litellm", port, mock), port)
    return Contender(
        "LiteLLM", process.pid, lambda case, seconds: peers.litellm_job(case, port, seconds), _PEERS_WARM_UP_S
    )


def _start_portkey(folder: Path, mock: Mock, stack: contextlib.ExitStack) -> Contender:
    if not peers.PORTKEY.exists():
        raise Cannot("not installed (make bench-peers)")
    if peers.node() is None:
        raise Cannot("there is no node on this machine")
    port = free_port()

    def job(case: Case, seconds: float) -> Job:
        if case.is_refused:
            raise Cannot("it has no tokens of its own")
        return peers.portkey_job(case, port, seconds, mock)

    process = _started(stack, lambda: peers.start_portkey(folder / "portkey", port, mock), port)
    return Contender("Portkey", process.pid, job, _PEERS_WARM_UP_S)


def _started(
    stack: contextlib.ExitStack, start: Callable[[], subprocess.Popen[bytes]], port: int
) -> subprocess.Popen[bytes]:
    with on_cores(cores()[0]):
        process = start()
    stack.callback(_end, process)
    eventually(lambda: process.poll() is not None or answers(port), every_s=0.1)
    if process.poll() is not None:
        raise Cannot(f"did not start (exit code {process.returncode})")
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    for member in reversed(family(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait(60)
