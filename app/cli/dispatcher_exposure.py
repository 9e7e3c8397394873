"""What tells of a dispatcher while it runs: a metrics file for the proxy's scrape, and a listener where one is wanted.

Neither is in the way of a delivery; the listener's server is only imported when there is something to serve.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from app.cli.dispatcher_metrics import DispatcherMetrics
from bus.bus import Bus
from bus.inspection import BackendState
from config import paths
from config.addresses import parse
from config.settings import Settings

SETTING: Final = "DISPATCHER_LISTEN_ADDR"


class Exposure:
    """`start` it in the dispatcher's task group, `end` it when the dispatcher has handed over."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        states: Callable[[], Sequence[BackendState]],
        stop: asyncio.Event,
        *,
        is_child: bool,
    ) -> None:
        """`is_child`: of a server, whose proxy adds up the files. Raises Failure when the address is taken."""
        folder = paths.metrics_dir(settings) if is_child and settings.enable_metrics else None
        self._metrics = DispatcherMetrics(bus, states, folder)
        self._server: Any = None
        if settings.dispatcher_listen_addr:
            self._server = _server(settings, self._metrics, stop)
        self._watching: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._watching = tasks.create_task(self._metrics.watch(), name="metrics")
        if self._server is not None:
            tasks.create_task(self._server.serve(), name="listener")

    async def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self._metrics.look()
        if self._server is not None:
            self._server.stop()


def _server(settings: Settings, metrics: DispatcherMetrics, stop: asyncio.Event) -> Any:
    from app.cli.checks import free_port
    from app.cli.dispatcher_routes import dispatcher_app
    from app.cli.in_process import server_for

    address = parse(settings.dispatcher_listen_addr, SETTING)
    free_port(f"{SETTING} (or --listen)", address)
    return server_for(dispatcher_app(settings, metrics, stop), address)
