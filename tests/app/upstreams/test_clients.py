import pytest

from app.upstreams.clients import ByProvider
from config.settings import Settings, UpstreamClient
from tests.app.upstreams.conftest import CLIENTS, PROVIDER, provider_at


@pytest.mark.parametrize("client", ["aiohttp", "http1"])
async def test_the_setting_chooses_the_client_and_each_provider_has_one(client: UpstreamClient) -> None:
    upstreams = ByProvider(client)

    assert isinstance(upstreams.of(PROVIDER), CLIENTS[client])  # type: ignore[arg-type]
    assert upstreams.of(PROVIDER) is upstreams.of(provider_at(1))  # known by its name
    await upstreams.close()


def test_our_own_is_the_default() -> None:
    assert Settings().upstream_client == "http1"
