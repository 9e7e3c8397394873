"""The admin's root: reads settings, makes the parts, gives the ASGI app that Granian serves on port 8081.

It needs neither the proxy nor the bus to be up, and starts without a database: pages then say what is away.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from admin.acts.refusals import Refusals
from admin.api.allowance import Allowance
from admin.assets import Assets
from admin.door import Door
from admin.headers import SecureHeaders
from admin.health import Health
from admin.parts import Parts
from admin.rendering import Templates
from admin.routes import admin_routes
from config.client_address import trusted_networks
from config.clock import Clock, SystemClock
from config.load import load_settings, raw_environment
from config.logs import set_up_logs
from config.providers import SHIPPED_FILE, load_providers
from config.settings import Settings
from sql.stores import open_stores

_PROXY_URL = "PROXY_URL"


def create_app() -> ASGIApp:
    """Granian's factory target. Raises ConfigError."""
    settings = load_settings()
    set_up_logs(settings, "admin")
    public_url = raw_environment(frozenset({_PROXY_URL})).get(_PROXY_URL, "")
    return build_app(make_parts(settings, SystemClock(), public_url))


def make_parts(settings: Settings, clock: Clock, public_url: str = "") -> Parts:
    assets = Assets()
    path = Path(settings.api_config_path) if settings.api_config_path else SHIPPED_FILE
    return Parts(
        settings=settings,
        clock=clock,
        stores=open_stores(settings),
        providers=load_providers(path, settings.default_api_provider),
        assets=assets,
        templates=Templates(assets),
        sign_ins=Allowance(settings.login_rate_per_minute, clock),
        refusals=Refusals(clock),
        trusted=trusted_networks(settings.trusted_proxies),
        public_url=public_url,
    )


def build_app(parts: Parts) -> ASGIApp:
    draining = asyncio.Event()
    door = Door(parts)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        _on_stop(draining.set)
        yield
        await parts.stores.close()

    app = Starlette(
        routes=admin_routes(parts, door, Health(parts, draining)),
        exception_handlers={HTTPException: door.refuse},
        lifespan=lifespan,
    )
    return SecureHeaders(app)


def _on_stop(begin_draining: Callable[[], None]) -> None:
    """Chained before the server's own handlers, which are set by now: `/ready` says no as soon as the stop begins."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        _chain(number, loop, begin_draining)


def _chain(number: signal.Signals, loop: asyncio.AbstractEventLoop, begin_draining: Callable[[], None]) -> None:
    previous: Any = signal.getsignal(number)

    def handler(received: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin_draining)
        if callable(previous):
            previous(received, frame)

    signal.signal(number, handler)
