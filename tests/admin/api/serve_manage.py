"""Serves /manage alone under Granian, with settings from the environment: what the tests over real sockets start."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from starlette.applications import Starlette

from admin.api.routes import ManageDeps, manage_routes
from config.clock import SystemClock
from config.load import load_settings
from config.providers import SHIPPED_FILE, load_providers
from sql import migrate
from sql.stores import open_stores


def create() -> Starlette:
    settings = load_settings()
    stores = open_stores(settings)
    deps = ManageDeps(stores=stores, settings=settings, providers=load_providers(SHIPPED_FILE), clock=SystemClock())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await migrate.up(stores)
        yield
        await stores.close()

    return Starlette(routes=manage_routes(deps), lifespan=lifespan)


if __name__ == "__main__":
    Granian(
        "tests.admin.api.serve_manage:create",
        factory=True,
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
    ).serve()
