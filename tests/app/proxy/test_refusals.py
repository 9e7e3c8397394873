"""Bad input gets one clear error in the client's dialect, with the right status, and is recorded all the same."""

import socket
import time
from typing import Any

import pytest

from tests.support.proxy import Proxy, now_ms
from tests.support.upstream import Received, Upstream, Wire
from tests.support.waiting import eventually


def error_of(proxy: Proxy, method: str, target: str, **options: Any) -> tuple[int, str]:
    """Status and code of a refused call, after checking that the event tells the same."""
    with proxy.client() as client:
        if options.pop("anonymous", False):
            del client.headers["authorization"]
        response = client.request(method, target, **options)
    event = proxy.event_of(response)
    assert (event.status, event.code) == (response.status_code, response.json()["code"])
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("TRACE", "/v1/models", (405, "method_not_allowed")),
        ("DELETE", "/v2/nope", (404, "provider_not_found")),
        ("GET", "/v1beta2/x", (404, "provider_not_found")),
        ("GET", "/openai/v1x/models", (404, "endpoint_not_found")),
        ("GET", "/nobody/v1/models", (404, "provider_not_found")),
        ("GET", "/openai", (404, "provider_not_found")),
        ("GET", "/v1/../admin", (404, "endpoint_not_found")),
        ("GET", "/v1/%2e%2e/admin", (404, "endpoint_not_found")),
        ("GET", "/v1/a%2f..%2f..%2fadmin", (404, "endpoint_not_found")),
        ("GET", "/v1//models", (404, "endpoint_not_found")),
        ("GET", "/v1/models", (401, "invalid_token")),
    ],
)
def test_a_call_is_checked_before_its_token_is_looked_at(
    proxy: Proxy, upstream: Upstream, method: str, target: str, expected: tuple[int, str]
) -> None:
    status = raw_status(proxy, method, target)

    assert status == expected
    assert upstream.received == []


def test_a_refused_method_names_the_allowed_ones(proxy: Proxy) -> None:
    with proxy.client() as client:
        response = client.request("TRACE", "/v1/models")

    assert response.headers["allow"] == "DELETE, GET, HEAD, PATCH, POST, PUT"


@pytest.mark.parametrize(
    "token", ["", "Bearer", "Bearer nonsense", "Bearer sk-" + "x" * 43, "Bearer " + "y" * 5000, "Basic abc"]
)
def test_a_missing_malformed_or_unknown_token_is_401(proxy: Proxy, token: str) -> None:
    assert error_of(proxy, "GET", "/v1/models", anonymous=True, headers={"authorization": token} if token else {}) == (
        401,
        "invalid_token",
    )


def test_an_expired_token_and_a_revoked_one_are_told_apart(proxy: Proxy) -> None:
    _, expired = proxy.new_token(expires_at_ms=now_ms() - 1)
    _, revoked = proxy.new_token(is_active=False)

    assert error_of(proxy, "GET", "/v1/models", headers={"authorization": f"Bearer {expired}"}) == (
        401,
        "token_expired",
    )
    assert error_of(proxy, "GET", "/v1/models", headers={"authorization": f"Bearer {revoked}"}) == (
        401,
        "token_inactive",
    )


def test_a_token_expires_while_it_is_in_use(proxy: Proxy) -> None:
    _, token = proxy.new_token(expires_at_ms=now_ms() + 700)
    headers = {"authorization": f"Bearer {token}"}
    with proxy.client(headers=headers) as client:
        assert client.get("/v1/models").status_code == 200

        eventually(lambda: client.get("/v1/models").status_code == 401)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/chat/completions", ("error", "code")),
        ("/anthropic/v1/messages", ("error", "code")),
        ("/gemini/v1beta/models/x:generateContent", ("error", "details", 0, "reason")),
    ],
)
def test_errors_speak_the_dialect_of_the_route(proxy: Proxy, target: str, path: tuple[Any, ...]) -> None:
    with proxy.client(headers={"authorization": "Bearer sk-wrong"}) as client:
        body = client.post(target, json={}).json()

    inside = body
    for step in path:
        inside = inside[step]
    assert inside == body["code"] == "invalid_token"


def test_a_stopped_upstream_is_502_and_a_silent_one_504(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.apis["openrouter"] = {"base_url": "http://127.0.0.1:1"}
    own_proxy.apis["openai"] = {"timeouts": {"connect": "1s", "response_header": "200ms", "idle": "300ms"}}
    own_proxy.start()

    @upstream.on("/v1/silent")
    async def silent(received: Received, wire: Wire) -> None:
        await wire.gone()

    assert error_of(own_proxy, "GET", "/openrouter/v1/models") == (502, "upstream_unreachable")
    assert error_of(own_proxy, "GET", "/v1/silent") == (504, "upstream_timeout")


def test_an_answer_that_is_no_http_and_one_that_ends_before_its_head_are_502(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/garbage")
    async def garbage(received: Received, wire: Wire) -> None:
        await wire.send(b"\x00\x01 what?\r\n\r\n")

    @upstream.on("/v1/cut")
    async def cut(received: Received, wire: Wire) -> None:
        wire.cut()

    assert error_of(proxy, "POST", "/v1/garbage") == (502, "upstream_cut")
    assert error_of(proxy, "POST", "/v1/cut") == (502, "upstream_cut")


def test_a_short_answer_that_is_cut_is_502_and_never_half_a_body(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/models")
    async def half(received: Received, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
        wire.cut()

    assert error_of(proxy, "POST", "/v1/models") == (502, "upstream_cut")


def test_a_body_that_is_too_large_is_413_whether_announced_or_not(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.environ["LLM_PROXY_MAX_REQUEST_BODY_BYTES"] = "1000"
    own_proxy.start()

    assert error_of(own_proxy, "POST", "/v1/files", content=b"x" * 1001) == (413, "body_too_large")
    assert error_of(own_proxy, "POST", "/v1/files", content=iter([b"x" * 600] * 2)) == (413, "body_too_large")


def test_a_websocket_upgrade_is_told_that_there_is_none_yet(proxy: Proxy) -> None:
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "x" * 24,
    }
    assert error_of(proxy, "GET", "/v1/realtime", headers=headers) == (501, "not_implemented")


@pytest.mark.parametrize("hosts", [[], ["a", "b"]])
def test_a_missing_or_second_host_is_refused(proxy: Proxy, hosts: list[str]) -> None:
    lines = ["GET /v1/models HTTP/1.1", *(f"Host: {h}" for h in hosts), f"Authorization: Bearer {proxy.token}"]
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as wire:
        wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

        assert wire.recv(100).startswith(b"HTTP/1.1 400")


def test_an_inactive_project_is_403_on_every_call_and_comes_back(proxy: Proxy) -> None:
    async def make(stores: Any) -> tuple[str, str]:
        from tests.support.proxy import make_project, make_token

        project_id = await make_project(stores, f"inactive {time.monotonic_ns()}", is_active=False)
        return project_id, (await make_token(stores, project_id))[1]

    _, token = proxy.run(make)
    headers = {"authorization": f"Bearer {token}"}

    assert error_of(proxy, "GET", "/v1/models", headers=headers) == (403, "project_inactive")
    assert error_of(proxy, "GET", "/v1/models", headers=headers) == (403, "project_inactive")


def raw_status(proxy: Proxy, method: str, target: str) -> tuple[int, str]:
    """Without a token, on a bare socket: a client library would clean the path."""
    import json

    with socket.create_connection(("127.0.0.1", proxy.port), 60) as wire:
        wire.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = wire.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)["code"]


@pytest.mark.parametrize("head", ["content-length: 5000", "transfer-encoding: chunked"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_a_body_that_does_not_come_is_408_and_its_connection_is_closed(
    own_proxy: Proxy, upstream: Upstream, head: str, path: str
) -> None:
    own_proxy.environ["LLM_PROXY_REQUEST_BODY_LOOK_MS"] = "100"
    own_proxy.start()

    with socket.create_connection(("127.0.0.1", own_proxy.port), timeout=60) as client:
        call = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {own_proxy.token}\r\n{head}\r\n\r\n"
        client.sendall(call.encode() + b"5\r\nabcde\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))  # to the end of the connection

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    eventually(lambda: [event.code for event in own_proxy.events()] == ["request_timeout"])
