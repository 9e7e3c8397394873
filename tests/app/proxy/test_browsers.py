"""CORS: browsers may read replies; whether an origin may call at all is the provider's allow-list."""

from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire

ORIGIN = "https://app.example"


def test_a_preflight_is_answered_without_token_or_upstream(proxy: Proxy, upstream: Upstream) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "x-a, x-b"}
    with proxy.client() as client:
        del client.headers["authorization"]
        response = client.options("/v1/anything", headers=headers)

    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == "x-a, x-b"
    assert response.headers["access-control-max-age"] == "86400"
    assert upstream.received == []


def test_a_reply_names_the_origin_in_place_of_the_upstreams(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/models")
    async def theirs(received: Received, wire: Wire) -> None:
        await wire.reply(200, b"ok", (b"access-control-allow-origin", b"https://theirs.example"))

    with proxy.client(headers={"origin": ORIGIN}) as client:
        response = client.get("/v1/models")

    assert response.headers.get_list("access-control-allow-origin") == [ORIGIN]
    assert "x-llm-proxy-request-id" in response.headers["access-control-expose-headers"]
    assert response.headers["vary"] == "Origin"


def test_without_an_origin_there_are_no_cors_headers(proxy: Proxy) -> None:
    with proxy.client() as client:
        response = client.get("/v1/models")

    assert not [n for n in response.headers if n.startswith("access-control-")]


def test_allow_lists_of_parameters_origins_and_headers_are_obeyed(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.apis["openai"] = {
        "param_whitelist": {"model": ["gpt-4o*", "o4-mini"]},
        "allowed_origins": [ORIGIN],
        "required_headers": ["x-team"],
    }
    own_proxy.start()
    chat, team = "/v1/chat/completions", {"x-team": "a"}

    with own_proxy.client() as client:

        def code(content: bytes, **headers: str) -> str | None:
            sent = {"content-type": "application/json", **team, **headers}
            response = client.post(chat, content=content, headers=sent)
            return response.json().get("code") if response.status_code != 200 else None

        assert code(b'{"model": "gpt-4o-mini"}') is None
        assert code(b'{"model": "gpt-5"}') == "param_not_allowed"
        assert code(b'{"model": "gpt-5"}', **{"content-type": "application/json; charset=utf-8"}) == "param_not_allowed"
        assert code(b'{"model": "gpt-5"}', **{"content-type": "application/vnd.x+json"}) == "param_not_allowed"
        assert code(b'{"model": "gpt-4o", "model": "gpt-5"}') == "invalid_request"
        assert code(b'{"model": ') == "invalid_request"
        assert code(b"[]") == "invalid_request"
        assert code(b"{}", **{"content-encoding": "gzip"}) == "invalid_request"
        assert code(b'{"pad": "' + b"x" * 9_000_000 + b'"}') == "body_too_large"
        assert code(b"{}", origin="https://evil.example") == "origin_not_allowed"
        assert code(b"{}", origin=ORIGIN) is None
        assert client.post(chat, json={}).json()["code"] == "invalid_request"
        refused = client.post(chat, json={"model": "gpt-5"}, headers=team).json()["error"]["message"]

    assert refused == "Parameter 'model' value 'gpt-5' is not allowed. Allowed patterns: [gpt-4o* o4-mini]"
    assert len(upstream.received) == 2
