"""The root of a proxy worker: builds its parts, keeps them alive, closes them in order.

Granian calls the factory in each worker. Everything that needs the event loop is opened in the lifespan; when that
fails, the worker refuses to start with one line.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from app.changes import Changes
from app.children import die_with_parent
from app.drains import Drains
from app.endpoint import Endpoint
from app.front import Front
from app.health import Health
from app.limits.parts import WorkerLimits
from app.lookups import Lookups
from app.metrics import Metrics
from app.metrics_routes import MetricsRoutes
from app.patience import Patience
from app.pipeline import Parts, build_pipeline, check_names
from app.precedence import Precedence
from app.pricing.overrides import OverrideFollower
from app.pricing.prices import Prices
from app.processors.ask_for_usage import check_providers
from app.recorder import Recorder
from app.upstreams.clients import ByProvider
from app.upstreams.egress import Egress
from app.usage_counts import UsageCounts
from bus.spool import Spool
from bus.wake import Wake
from config import paths
from config.client_address import trusted_networks
from config.clock import SystemClock
from config.ids import new_id
from config.logs import log
from config.providers import SHIPPED_FILE, Providers, load_providers
from config.settings import Settings
from sql.stores import Stores, open_stores

logger = logging.getLogger(__name__)

_METRICS_EVERY_S: Final = 1.0
_SPOOL_COUNTERS: Final = {
    "recorded": "recorded",
    "dropped": "record_dropped",
    "bodies_dropped": "record_bodies_dropped",
}


class Worker:
    """One proxy worker: what it holds from start to stop."""

    def __init__(self, settings: Settings, extra_routes: Callable[[Stores], Sequence[BaseRoute]]) -> None:
        check_names(settings.processors)
        self._settings = settings
        self._trusted = trusted_networks(settings.trusted_proxies)
        self._extra_routes = extra_routes
        self._providers, self._egress = providers_of(settings), Egress.of(settings)
        check_providers(settings.include_usage, self._providers)
        self._prices = Prices(tuple(self._providers.by_name.values()))
        self._metrics = Metrics()
        self._drains = Drains(
            self._metrics,
            most=settings.disconnect_drains,
            limit_s=settings.disconnect_drain_s,
            max_bytes=settings.disconnect_drain_bytes,
        )
        self._patience = Patience(settings.request_body_look_ms)
        self._name = new_id()
        self._metrics_folder = paths.metrics_dir(settings)

        self._front = Front(Starlette(lifespan=self._lifespan), settings.metrics_path)

    def app(self) -> Front:
        return self._front

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        die_with_parent()  # else a killed Granian leaves a worker that serves, and holds the port
        async with AsyncExitStack() as stack:
            stores = open_stores(self._settings)
            stack.push_async_callback(stores.close)
            spool = self._open_spool()
            if spool is not None:
                stack.callback(spool.close)
            changes = Changes(stores, poll_s=self._settings.changes_poll_ms / 1000)
            lookups = Lookups(stores, changes, stale_s=self._settings.token_stale_s)
            counts = UsageCounts(stores, flush_s=self._settings.usage_flush_ms / 1000)
            stack.push_async_callback(counts.flush)
            upstreams = ByProvider(self._settings.upstream_client, self._egress)
            stack.push_async_callback(upstreams.close)
            limits = WorkerLimits(self._settings, stores, self._metrics, SystemClock(), worker=self._name)
            stack.callback(limits.close)
            changes.tell(lookups.forget, "token", "project")
            changes.tell(limits.policy.read, "policy")
            changes.tell(OverrideFollower(stores, self._prices).read, "prices")
            await changes.ask()  # before the first call: a policy that is not known yet would let everything pass
            endpoint = self._endpoint(lookups, counts, limits, upstreams, spool)
            health = Health(stores, lookups, spool)
            manage_stores = open_stores(self._settings)  # a pool of its own: bulk work there must not starve the proxy
            stack.push_async_callback(manage_stores.close)
            app.router.routes[:] = self._routes(endpoint, health, manage_stores)
            self._front.endpoint = endpoint
            _on_stop_signal(lambda: _drain(endpoint, health))
            await stack.enter_async_context(
                _running(
                    changes.follow(),
                    counts.flush_regularly(),
                    limits.keep_up(),
                    self._patience.keep(),
                    Precedence().keep(),
                    self._report(spool, changes, upstreams, limits),
                )
            )
            stack.push_async_callback(self._drains.finish, self._settings.drain_s)  # first of all at the end
            log(logger, logging.INFO, "worker ready", providers=list(self._providers.by_name))
            yield

    def _open_spool(self) -> Spool | None:
        settings = self._settings
        if not settings.observability_enabled:
            return None
        return Spool.open(
            paths.spool_root(settings),
            segment_bytes=settings.spool_segment_bytes,
            max_bytes=settings.spool_max_bytes,
            record=settings.record,
            when_full=settings.spool_when_full,
            sync_ms=settings.spool_sync_ms,
            wake=Wake(paths.wake_socket(settings)),
        )

    def _endpoint(
        self,
        lookups: Lookups,
        counts: UsageCounts,
        limits: WorkerLimits,
        upstreams: ByProvider,
        spool: Spool | None,
    ) -> Endpoint:
        settings, clock = self._settings, SystemClock()
        recorder = Recorder(
            spool,
            self._metrics,
            self._prices,
            max_request_bytes=settings.observability_max_request_body_bytes,
            max_response_bytes=settings.observability_max_response_body_bytes,
        )
        parts = Parts(
            recorder=recorder,
            lookups=lookups,
            usage_counts=counts,
            limits=limits.limits,
            prices=self._prices,
            upstreams=upstreams,
            drains=self._drains,
            metrics=self._metrics,
            clock=clock,
            logs_requests=settings.log_requests,
            include_usage=settings.include_usage,
        )
        proceed = build_pipeline(parts, settings.processors)
        return Endpoint(
            proceed,
            providers=self._providers,
            settings=settings,
            clock=clock,
            patience=self._patience,
            trusted=self._trusted,
        )

    def _routes(self, endpoint: Endpoint, health: Health, stores: Stores) -> list[BaseRoute]:
        return [
            Route("/health", health.health),
            Route("/ready", health.ready),
            Route("/live", health.live),
            *self._metrics_routes(),
            *self._extra_routes(stores),
            Route("/{path:path}", endpoint),  # last, and everything that is left
        ]

    def _metrics_routes(self) -> list[Route]:
        if self._settings.metrics_addr or not self._settings.enable_metrics:
            return []
        return MetricsRoutes(self._settings, self._metrics, self._name).routes()

    async def _report(self, spool: Spool | None, changes: Changes, upstreams: ByProvider, limits: WorkerLimits) -> None:
        """Writes this worker's numbers for the others' scrapes, once a second."""
        await asyncio.to_thread(self._metrics_folder.mkdir, parents=True, exist_ok=True)
        while True:
            self._metrics.gauge("llm_proxy_store_away", float(changes.store_is_away))
            self._metrics.gauge("llm_proxy_limits_away", float(limits.limits.is_away))
            self._count_connections(upstreams)
            try:
                if spool is not None:
                    self._count_spool(spool)
                await asyncio.to_thread(self._metrics.write, self._metrics_folder, self._name)
            except OSError as error:
                log(logger, logging.WARNING, "metrics cannot be written", error=str(error))
            await asyncio.sleep(_METRICS_EVERY_S)

    def _count_spool(self, spool: Spool) -> None:
        stats = spool.stats()
        for field, name in _SPOOL_COUNTERS.items():
            self._metrics.now.counters[f"llm_proxy_{name}_total"] = getattr(stats, field)
        self._metrics.gauge("llm_proxy_spool_bytes", stats.bytes)

    def _count_connections(self, upstreams: ByProvider) -> None:
        for name, stats in upstreams.stats().items():
            for state in ("busy", "idle"):
                key = f'llm_proxy_upstream_connections{{provider="{name}",state="{state}"}}'
                self._metrics.gauge(key, getattr(stats, state))
            self._metrics.gauge(f'llm_proxy_upstream_waiting{{provider="{name}"}}', stats.waiting)
            self._metrics.now.counters[f'llm_proxy_upstream_dials_total{{provider="{name}"}}'] = stats.dialled


def build_app(settings: Settings, extra_routes: Callable[[Stores], Sequence[BaseRoute]] = lambda stores: ()) -> Front:
    """The proxy as an ASGI app. `extra_routes` are put before the proxy's own; the CLI composes /manage in."""
    return Worker(settings, extra_routes).app()


def providers_of(settings: Settings) -> Providers:
    """Raises ConfigError: a broken file stops the start."""
    path = Path(settings.api_config_path) if settings.api_config_path else SHIPPED_FILE
    return load_providers(path, settings.default_api_provider)


def _drain(endpoint: Endpoint, health: Health) -> None:
    endpoint.is_draining = True
    health.is_draining = True


@asynccontextmanager
async def _running(*loops: Any) -> AsyncIterator[None]:
    """Background loops of the worker, cancelled at its end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_or_end_the_worker(loop), name=loop.__qualname__) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _or_end_the_worker(loop: Any) -> None:
    """A loop that fails must not unwind the lifespan: Granian would go on serving, with a spool that is closed.

    The worker drains and ends instead, and Granian starts another one.
    """
    try:
        await loop
    except Exception:
        logger.exception(f"{loop.__qualname__} failed; this worker ends")
        os.kill(os.getpid(), signal.SIGTERM)


def _on_stop_signal(act: Callable[[], None]) -> None:
    """Chains onto the handlers that Granian has set: it still stops, and the app learns of it at once."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(act)
            if callable(before):
                before(signum, frame)

        signal.signal(number, handle)
