"""Where a token is looked for, and that no credential crosses over, in either direction."""

import pytest

from tests.support.proxy import API_KEY, Proxy
from tests.support.upstream import Received, Upstream, Wire

PLACES = {
    "openai": ("/openai/v1/models", {"authorization": "Bearer {}"}, ("authorization", f"Bearer {API_KEY}")),
    "default": ("/v1/models", {"authorization": "bearer   {}"}, ("authorization", f"Bearer {API_KEY}")),
    "anthropic": ("/anthropic/v1/models", {"x-api-key": "{}"}, ("x-api-key", API_KEY)),
    "anthropic bearer": ("/anthropic/v1/models", {"authorization": "Bearer {}"}, ("x-api-key", API_KEY)),
    "gemini": ("/gemini/v1beta/models", {"x-goog-api-key": "{}"}, ("x-goog-api-key", API_KEY)),
    "gemini query": ("/gemini/v1beta/models?key={}&pageSize=5", {}, ("x-goog-api-key", API_KEY)),
    "azure": ("/azure/openai/deployments", {"api-key": "{}"}, ("api-key", API_KEY)),
    "openrouter": ("/openrouter/v1/models", {"authorization": "Bearer {}"}, ("authorization", f"Bearer {API_KEY}")),
}
CREDENTIAL_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie")


@pytest.mark.parametrize("place", PLACES)
def test_the_token_is_taken_from_where_the_providers_sdk_puts_its_key(
    proxy: Proxy, upstream: Upstream, place: str
) -> None:
    target, headers, (name, value) = PLACES[place]
    shown = {n: v.format(proxy.token) for n, v in headers.items()}

    with proxy.client() as client:
        del client.headers["authorization"]
        response = client.get(target.format(proxy.token), headers=shown)

    assert response.status_code == 200
    received = upstream.received[-1]
    assert received.all(name) == [value.encode()]
    assert proxy.token not in f"{received.target} {received.headers}"


@pytest.mark.parametrize("target", ["/v1/models", "/anthropic/v1/models", "/gemini/v1beta/models", "/azure/openai/x"])
def test_no_credential_of_the_client_reaches_an_upstream(proxy: Proxy, upstream: Upstream, target: str) -> None:
    secrets = {name: f"canary-{name}" for name in CREDENTIAL_HEADERS if name != "authorization"}
    secrets["x-goog-api-key" if "gemini" in target else "x-api-key" if "anthropic" in target else "api-key"] = (
        proxy.token
    )

    with proxy.client(headers=secrets) as client:
        response = client.get(f"{target}?x=1&leak={proxy.token}")

    assert response.status_code == 200
    received = upstream.received[-1]
    wire = repr((received.target, received.headers))
    assert "canary-" not in wire
    assert proxy.token not in wire
    assert wire.count(API_KEY) == 1
    assert received.target.endswith("?x=1")


def test_no_api_key_and_no_cookie_of_the_upstream_reaches_a_client(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/models")
    async def cookies(received: Received, wire: Wire) -> None:
        await wire.reply(200, b"ok", (b"set-cookie", b"session=theirs"))

    with proxy.client() as client:
        response = client.get("/v1/models")

    assert API_KEY not in f"{response.headers} {response.text}"
    assert "set-cookie" not in response.headers


def test_a_project_without_a_key_for_the_provider_is_told_so_and_nothing_is_sent(
    own_proxy: Proxy, upstream: Upstream
) -> None:
    own_proxy.apis["openrouter"] = {}
    own_proxy.start()
    own_proxy.run(lambda stores: _drop_keys(stores, own_proxy.project_id, "openrouter"))

    with own_proxy.client() as client:
        response = client.get("/openrouter/v1/models")

    assert response.status_code == 503
    assert response.json()["code"] == "upstream_key_missing"
    assert upstream.received == []


async def _drop_keys(stores: object, project_id: str, provider: str) -> None:
    from sql.repositories import api_keys, changes
    from sql.stores import Stores
    from tests.support.proxy import now_ms

    assert isinstance(stores, Stores)
    for row in await api_keys.for_project(stores.main, stores.sealer, project_id):
        if row.provider == provider:
            await api_keys.delete(stores.main, row.id, project_id)
    await changes.append(stores.main, "project", project_id, now_ms())
