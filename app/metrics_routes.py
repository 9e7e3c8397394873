"""/metrics (JSON) and /metrics/prometheus: on the proxy's own listener, or alone where METRICS_ADDR says."""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.exposition import as_json, as_prometheus
from app.metrics import Metrics, Snapshot, collected
from config import paths
from config.settings import Settings


class MetricsRoutes:
    """`own` are the numbers of the worker that answers; None for a listener that only adds up files."""

    def __init__(self, settings: Settings, own: Metrics | None, worker: str) -> None:
        self._path = settings.metrics_path
        self._folder = paths.metrics_dir(settings)
        self._own = own
        self._worker = worker
        self._started = time.monotonic()

    def routes(self) -> list[Route]:
        return [Route(self._path, self._json), Route(f"{self._path}/prometheus", self._text)]

    def _json(self, request: Request) -> Response:
        return JSONResponse(as_json(self._collected(), self._uptime_s))

    def _text(self, request: Request) -> Response:
        text = as_prometheus(self._collected(), self._uptime_s)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _collected(self) -> Snapshot:
        return collected(self._folder, self._own, self._worker)

    @property
    def _uptime_s(self) -> float:
        return time.monotonic() - self._started


def metrics_app(settings: Settings) -> Starlette:
    """What listens at METRICS_ADDR: metrics and nothing else. Needs neither database nor spool."""
    return Starlette(routes=MetricsRoutes(settings, None, "").routes())
