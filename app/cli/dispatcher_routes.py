"""What a dispatcher answers on a listener of its own.

/live       the loop turns
/ready      the bus answers; 503 while it does not, and while the dispatcher stops. A backend that waits is degraded.
/metrics    JSON; below it /prometheus, the same as text
"""

import asyncio
import time

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.cli.dispatcher_metrics import DispatcherMetrics
from app.exposition import as_prometheus
from config.settings import Settings


def dispatcher_app(settings: Settings, metrics: DispatcherMetrics, stop: asyncio.Event) -> Starlette:
    """`stop` is set while it drains."""
    told = _Told(metrics, stop)
    routes = [Route("/live", told.live), Route("/ready", told.ready)]
    if settings.enable_metrics:
        path = settings.metrics_path
        routes += [Route(path, told.json), Route(f"{path}/prometheus", told.text)]
    return Starlette(routes=routes)


class _Told:
    def __init__(self, metrics: DispatcherMetrics, stop: asyncio.Event) -> None:
        self._metrics = metrics
        self._stop = stop
        self._started = time.monotonic()

    async def live(self, request: Request) -> Response:
        return PlainTextResponse("alive")

    async def ready(self, request: Request) -> Response:
        if self._stop.is_set():
            return PlainTextResponse("draining", status_code=503)
        if self._metrics.is_bus_away:
            return PlainTextResponse("bus: away", status_code=503)
        waiting = [state.name for state in self._metrics.states() if state.state in ("waiting", "restarting")]
        return PlainTextResponse(f"ready, degraded: {', '.join(waiting)}" if waiting else "ready")

    async def json(self, request: Request) -> Response:
        now = self._metrics.now()
        backends = msgspec.to_builtins(self._metrics.states())
        uptime = round(self._uptime_s, 3)
        return JSONResponse(
            {"uptime_seconds": uptime, "counters": now.counters, "gauges": now.gauges, "backends": backends}
        )

    async def text(self, request: Request) -> Response:
        text = as_prometheus(self._metrics.now(), self._uptime_s, always=())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @property
    def _uptime_s(self) -> float:
        return time.monotonic() - self._started
