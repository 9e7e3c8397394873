"""Bytes pass unchanged in both directions; only the credentials are swapped."""

import gzip
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.proxy import API_KEY, Proxy
from tests.support.upstream import Received, Upstream, Wire

SHARED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
# RFC 9110 section 5.5: VCHAR, obs-text, and space or tab inside; the proxy must not care which
HEADER_VALUES = st.binary(min_size=1, max_size=40).map(
    lambda b: bytes(c if 0x21 <= c <= 0x7E or c >= 0x80 else 0x21 + c % 90 for c in b)
)


@SHARED
@given(body=st.binary(max_size=200_000))
def test_any_request_and_response_body_passes_byte_for_byte(proxy: Proxy, upstream: Upstream, body: bytes) -> None:
    with proxy.client() as client:
        response = client.post("/v1/files", content=body)

    assert response.content == body
    assert upstream.received[-1].body == body


@SHARED
@given(pieces=st.lists(st.binary(min_size=1, max_size=5000), min_size=1, max_size=20))
def test_any_chunking_of_a_request_passes(proxy: Proxy, upstream: Upstream, pieces: list[bytes]) -> None:
    with proxy.client() as client:
        client.post("/v1/files", content=iter(pieces))

    assert upstream.received[-1].body == b"".join(pieces)
    assert upstream.received[-1].all("transfer-encoding") == [b"chunked"]


@SHARED
@given(pieces=st.lists(st.binary(min_size=1, max_size=5000), max_size=20))
def test_any_chunking_of_a_response_passes(proxy: Proxy, upstream: Upstream, pieces: list[bytes]) -> None:
    @upstream.on("/v1/files")
    async def chunked(received: Received, wire: Wire) -> None:
        await wire.start_chunked()
        for piece in pieces:
            await wire.chunk(piece)
        await wire.end()

    with proxy.client() as client:
        assert client.get("/v1/files").content == b"".join(pieces)


@SHARED
@given(values=st.lists(HEADER_VALUES, min_size=1, max_size=90))
def test_header_values_pass_in_both_directions_with_their_bytes_order_and_number(
    proxy: Proxy, upstream: Upstream, values: list[bytes]
) -> None:
    @upstream.on("/v1/models")
    async def mirror(received: Received, wire: Wire) -> None:
        mirrored = [(b"x-mirror", v) for v in received.all("x-test")]
        await wire.reply(200, b"", *mirrored)

    # 90 of our own would be more than 100 with what the client library adds: it sends these few and nothing else
    raw = exchange_raw(proxy, b"GET /v1/models HTTP/1.1", [(b"x-test", v) for v in values[:85]])

    assert upstream.received[-1].all("x-test") == values[:85]
    assert [v for n, v in raw if n == b"x-mirror"] == values[:85]


def test_the_target_passes_percent_encoding_and_all(proxy: Proxy, upstream: Upstream) -> None:
    exchange_raw(proxy, b"GET /v1/models/a%2Fb%20c?q=%C3%A9&x=1&x=2&empty= HTTP/1.1", [])

    assert upstream.received[-1].target == "/v1/models/a%2Fb%20c?q=%C3%A9&x=1&x=2&empty="


def test_a_compressed_response_is_not_touched(proxy: Proxy, upstream: Upstream) -> None:
    packed = gzip.compress(b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}')

    @upstream.on("/v1/chat/completions")
    async def compressed(received: Received, wire: Wire) -> None:
        await wire.reply(200, packed, (b"content-type", b"application/json"), (b"content-encoding", b"gzip"))

    with proxy.client() as client:
        with client.stream("POST", "/v1/chat/completions", json={"model": "m"}) as response:
            raw = b"".join(response.iter_raw())

    assert raw == packed
    event = proxy.event_of(response)
    assert event.usage is not None
    assert (event.usage.input, event.usage.output) == (3, 4)


def test_no_header_is_invented_for_the_upstream(proxy: Proxy, upstream: Upstream) -> None:
    exchange_raw(proxy, b"GET /v1/models HTTP/1.1", [])

    names = {n.lower() for n, _ in upstream.received[-1].headers}
    ours = {b"x-request-id", b"traceparent", b"x-proxy", b"x-proxy-version", b"x-proxy-id"}
    assert names == {b"host", b"authorization"} | ours
    assert upstream.received[-1].all("authorization") == [f"Bearer {API_KEY}".encode()]


def test_hop_by_hop_headers_end_at_the_proxy(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/models")
    async def hops(received: Received, wire: Wire) -> None:
        await wire.reply(200, b"ok", (b"connection", b"x-private"), (b"x-private", b"1"), (b"keep-alive", b"timeout=5"))

    raw = exchange_raw(
        proxy,
        b"GET /v1/models HTTP/1.1",
        [
            (b"connection", b"x-secret-hop"),
            (b"x-secret-hop", b"1"),
            (b"te", b"trailers"),
            (b"forwarded", b"for=1.2.3.4"),
        ],
    )

    sent = {n.lower() for n, _ in upstream.received[-1].headers}
    assert not sent & {b"x-secret-hop", b"te", b"forwarded", b"x-forwarded-for", b"connection"}
    assert not {n for n, _ in raw} & {b"x-private", b"keep-alive"}


def test_trailers_and_informational_responses_leave_the_connection_sound(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/models")
    async def early_hints(received: Received, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        await wire.send(b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")

    before = upstream.connections
    with proxy.client() as client:
        bodies = [client.get("/v1/models").content for _ in range(3)]

    assert bodies == [b"hi"] * 3
    assert upstream.connections - before <= 1


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_replies_without_a_body_end_at_their_head(proxy: Proxy, upstream: Upstream, method: str, status: int) -> None:
    @upstream.on("/v1/models")
    async def bodiless(received: Received, wire: Wire) -> None:
        length = b"content-length: 1234\r\n" if received.method == "HEAD" else b""
        await wire.send(b'HTTP/1.1 %d X\r\netag: "e"\r\n%b\r\n' % (status, length))

    with proxy.client() as client:
        first, second = client.request(method, "/v1/models"), client.request(method, "/v1/models")

    assert (first.status_code, first.content, second.content) == (status, b"", b"")
    assert first.headers["etag"] == '"e"'
    assert first.headers.get("content-length") == ("1234" if method == "HEAD" else None)


def test_a_redirect_is_passed_on_and_not_followed(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on("/v1/models")
    async def elsewhere(received: Received, wire: Wire) -> None:
        await wire.reply(302, b"", (b"location", b"http://127.0.0.1:1/elsewhere"))

    with proxy.client() as client:
        response = client.get("/v1/models")

    assert (response.status_code, response.headers["location"]) == (302, "http://127.0.0.1:1/elsewhere")


def test_an_upstreams_own_error_and_request_id_pass_through(proxy: Proxy, upstream: Upstream) -> None:
    body = b'{"error": {"message": "their words", "code": "their_code"}}'

    @upstream.on("/v1/chat/completions")
    async def limited(received: Received, wire: Wire) -> None:
        await wire.reply(429, body, (b"x-request-id", b"req_theirs"), (b"retry-after", b"7"))

    with proxy.client() as client:
        response = client.post("/v1/chat/completions", json={})

    assert (response.status_code, response.content) == (429, body)
    assert (response.headers["x-request-id"], response.headers["retry-after"]) == ("req_theirs", "7")
    assert response.headers["x-llm-proxy-request-id"] != "req_theirs"


def test_a_request_id_and_a_traceparent_of_the_client_are_taken_over(proxy: Proxy, upstream: Upstream) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with proxy.client(headers={"x-request-id": "my-request.0001", "traceparent": traceparent}) as client:
        response = client.get("/v1/models")

    assert response.headers["x-llm-proxy-request-id"] == "my-request.0001"
    assert upstream.received[-1].all("x-request-id") == [b"my-request.0001"]
    assert upstream.received[-1].all("traceparent") == [traceparent.encode()]
    assert proxy.event_of(response).trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_overhead_header_leaves_the_upstreams_time_out(proxy: Proxy, upstream: Upstream) -> None:
    import asyncio

    @upstream.on("/v1/models")
    async def slow(received: Received, wire: Wire) -> None:
        await asyncio.sleep(0.3)  # the upstream thinks; this is the thing measured
        await wire.reply(200, b"ok")

    with proxy.client() as client:
        response = client.get("/v1/models")

    assert 0 < float(response.headers["x-llm-proxy-overhead-ms"]) < 200


def exchange_raw(proxy: Proxy, line: bytes, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """One exchange on a bare socket, where no client library adds a header. Returns the reply's headers."""
    head = [line, b"host: x", b"authorization: Bearer " + proxy.token.encode()]
    head += [n + b": " + v for n, v in headers]
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as wire:
        wire.sendall(b"\r\n".join(head) + b"\r\n\r\n")
        reader = wire.makefile("rb")
        reader.readline()
        got = []
        while (text := reader.readline()) not in (b"\r\n", b""):
            name, _, value = text.rstrip(b"\r\n").partition(b": ")
            got.append((name.lower(), value))
        return got
