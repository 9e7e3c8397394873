"""The proxy's main process: Granian, which forks the workers and starts a failed one again.

It imports what a worker needs before it forks: a worker that was killed is back in a fraction of a second, and the
pages are shared. Nothing is opened or started here; each worker builds its own app (`proxy_app.load`).
"""

import gc
import importlib
import logging
import math
import multiprocessing
import resource
import time
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from app.children import forked_children_stop_by_default
from app.cli import proxy_app
from app.cli.failures import MISCONFIGURED
from app.cli.in_process import BACKLOG, HEADER_READ_MS, LOGS
from app.cli.plan import PROXY_SHARE
from app.supervisor import restart_delay_s
from config.addresses import parse
from config.logs import log
from config.settings import Settings

logger = logging.getLogger(__name__)

_QUICK_DEATH_S = 3.0
# Of one worker, at work or at rest: what comes beyond stays in the backlog. Granian would divide the backlog by the
# workers, and 4,096 half requests were enough to keep everybody out. One costs about 18 KB.
_CONNECTIONS: Final = 16_384
_FILES: Final = 65_536


class ProxyServer(MPServer):
    """Granian with three corrections to how it starts failed workers again.

    It gives up when one dies twice within 5.5 s; here the pause before the next start grows instead. Workers that die
    at the same instant may be overlooked; here they are looked for again. A worker that refuses its configuration
    (exit code 2) ends the main process with that code, so that the supervisor stops too.
    """

    _quick_deaths = 0

    def _respawn_workers(self, workers: Any, spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        if any(self.wrks[index].inner.exitcode == MISCONFIGURED for index in workers):
            self.interrupt_children.extend(workers)
            self.shutdown(MISCONFIGURED)  # type: ignore[no-untyped-call]
        lived_s = time.monotonic() - max(self.wrks[index].birth for index in workers)
        self._quick_deaths = self._quick_deaths + 1 if lived_s < _QUICK_DEATH_S else 0
        pause_s = restart_delay_s(self._quick_deaths)
        log(logger, logging.WARNING, "a worker died; restarting", workers=[i + 1 for i in workers], in_s=pause_s)
        self.main_loop_interrupt.wait(pause_s)
        if self.interrupt_signal:
            return
        super()._respawn_workers(workers, spawn_target, target_loader, delay)
        self.respawned_wrks.clear()
        self._look_for_the_overlooked()

    def _look_for_the_overlooked(self) -> None:
        dead = [w.idx for w in self.wrks if w.inner.exitcode is not None and w.idx not in self.interrupt_children]
        self.interrupt_children.extend(dead)
        if self.interrupt_children:
            self.main_loop_interrupt.set()


def serve(settings: Settings) -> int:
    """Until SIGTERM. Running replies have their share of the drain time."""
    server = server_of(settings, files=allow_files())
    _import_for_workers()
    forked_children_stop_by_default()
    server.serve(target_loader=proxy_app.load, wrap_loader=False)
    return 0


def server_of(settings: Settings, *, files: int) -> ProxyServer:
    """`files` is how many a worker may have open."""
    address = parse(settings.listen_addr, "LISTEN_ADDR")
    return ProxyServer(
        target="app.cli.proxy_app:load",  # only a name: the loader below is what is called
        address=address.host,
        port=address.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_READ_MS),
        websockets=False,  # an upgrade arrives as a plain request then, and gets our 501
        workers=settings.workers,
        backlog=BACKLOG,
        backpressure=min(_CONNECTIONS, files // 2),  # each may need one to an upstream
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=max(1, math.floor(settings.drain_s * PROXY_SHARE) - 1),
        log_level=LogLevels.warning,
        log_dictconfig=LOGS,
    )


def allow_files() -> int:
    """As many open files as this process may allow itself; a login or a service often begins with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # a sandbox may refuse it
        return soft
    return wanted


def _import_for_workers() -> None:
    if multiprocessing.get_start_method() != "fork":
        return
    importlib.import_module("app.main")
    importlib.import_module("admin.api.routes")
    gc.collect()
    gc.freeze()  # else a worker's first collection writes to every page, and none is shared any more
