from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from app.upstreams.aiohttp_upstream import AiohttpUpstream
from app.upstreams.egress import DIRECT, Egress
from app.upstreams.http1_upstream import Http1Upstream
from app.upstreams.upstream import Upstream
from config.provider import Auth, Connection, Provider, Timeouts

PROVIDER = Provider(
    name="acme",
    base_url="http://127.0.0.1:1",
    dialect="openai",
    auth=Auth(),
    path_prefix="",
    allowed_endpoints=("/",),
    allowed_methods=("GET", "POST"),
    param_whitelist={},
    allowed_origins=(),
    required_headers=(),
    timeouts=Timeouts(),
    connection=Connection(),
)
CLIENTS: dict[str, Callable[[Provider, Egress], Upstream]] = {"aiohttp": AiohttpUpstream, "http1": Http1Upstream}
Dial = Callable[..., Upstream]


def provider_at(port: int, *, url: str = "", timeouts: dict[str, int] | None = None, **connection: Any) -> Provider:
    return msgspec.structs.replace(
        PROVIDER,
        base_url=url or f"http://127.0.0.1:{port}",
        timeouts=Timeouts(**(timeouts or {})),
        connection=Connection(**connection),
    )


@pytest.fixture(params=list(CLIENTS))
def client_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def upstream_at(client_name: str) -> AsyncIterator[Dial]:
    """`upstream_at(port, timeouts={...}, max_connections=...)`: each client in turn."""
    opened: list[Upstream] = []

    def dial(port: int = 0, *, egress: Egress = DIRECT, **options: Any) -> Upstream:
        opened.append(CLIENTS[client_name](provider_at(port, **options), egress))
        return opened[-1]

    yield dial
    for upstream in opened:
        await upstream.close()


@pytest.fixture
async def http1_at() -> AsyncIterator[Dial]:
    """The same for what only our own client promises."""
    opened: list[Upstream] = []

    def dial(port: int = 0, *, egress: Egress = DIRECT, **options: Any) -> Upstream:
        opened.append(Http1Upstream(provider_at(port, **options), egress))
        return opened[-1]

    yield dial
    for upstream in opened:
        await upstream.close()
