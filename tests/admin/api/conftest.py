"""/manage as it is served, without a socket: a Starlette app of its routes, and a client that holds the right token."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from msgspec import structs
from starlette.applications import Starlette

from admin.api.routes import ManageDeps, manage_routes
from config.providers import SHIPPED_FILE, load_providers
from config.secret import Secret
from config.settings import Settings
from sql.stores import Stores
from tests.admin.acts.acting import StillClock

TOKEN = "a-management-token-of-the-tests"
Connect = Callable[..., httpx.AsyncClient]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def connect(clock: StillClock) -> Connect:
    """A client of /manage on given stores; `peer` is its address, other names are settings."""

    def build(
        stores: Stores, *, token: str | None = TOKEN, peer: str = "192.0.2.7", **settings: Any
    ) -> httpx.AsyncClient:
        given = structs.replace(Settings(management_token=Secret(TOKEN), manage_rate_per_minute=0), **settings)
        deps = ManageDeps(stores=stores, settings=given, providers=load_providers(SHIPPED_FILE), clock=clock)
        transport = httpx.ASGITransport(Starlette(routes=manage_routes(deps)), client=(peer, 4711))
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(transport=transport, base_url="http://proxy", headers=headers)

    return build


@pytest.fixture
async def manage(stores: Stores, connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    """On SQLite and on PostgreSQL."""
    async with connect(stores) as client:
        yield client


@pytest.fixture
async def light(sqlite_stores: Stores, connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    """On SQLite only, for what no database decides."""
    async with connect(sqlite_stores) as client:
        yield client
