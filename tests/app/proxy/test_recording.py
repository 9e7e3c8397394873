"""One event for each exchange: what it tells, and what it never does."""

import json
import socket
import time
from typing import Any

import pytest

from bus.event import Usage
from tests.support.proxy import API_KEY, Proxy, make_project, make_token
from tests.support.upstream import Received, Upstream, Wire, sse
from tests.support.waiting import eventually

CHAT = "/v1/chat/completions"
ANSWER = {
    "id": "chatcmpl-1",
    "model": "gpt-test-2026",
    "choices": [{"message": {"role": "assistant", "content": "hi"}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 20},
    },
}


def answer_with(upstream: Upstream, answer: dict[str, Any]) -> None:
    @upstream.on(CHAT)
    async def answers(received: Received, wire: Wire) -> None:
        await wire.reply(200, json.dumps(answer).encode(), (b"content-type", b"application/json"))


def test_an_exchange_is_recorded_with_who_what_and_how_much(proxy: Proxy, upstream: Upstream) -> None:
    answer_with(upstream, ANSWER)
    headers = {"openai-organization": "org-1", "user-agent": "tests/1", "x-session-id": "s-1"}

    with proxy.client(headers=headers) as client:
        response = client.post(CHAT, json={"model": "gpt-test", "user": "end-user-1", "messages": []})

    event = proxy.event_of(response)
    assert (event.project_id, event.token_id) == (proxy.project_id, proxy.token_id)
    assert (event.provider, event.dialect, event.path, event.method) == ("openai", "openai", CHAT, "POST")
    assert (event.model, event.response_model, event.response_id) == ("gpt-test", "gpt-test-2026", "chatcmpl-1")
    assert (event.organisation, event.session_id, event.end_user) == ("org-1", "s-1", "end-user-1")
    assert (event.status, event.code, event.cut, event.streamed, event.attempts) == (200, "", "", False, 1)
    assert event.usage == Usage(input=70, cache_read=30, output=30, reasoning=20)
    assert event.cost_microusd is None
    assert event.request_body is not None
    assert json.loads(event.request_body.data)["model"] == "gpt-test"
    assert event.response_body is not None
    assert json.loads(event.response_body.data) == ANSWER
    assert event.upstream_head_us is not None
    assert event.first_byte_us is not None
    assert event.last_byte_us is not None
    assert 0 < event.upstream_head_us <= event.first_byte_us <= event.last_byte_us
    assert (event.request_bytes, event.response_bytes) == (len(response.request.content), len(response.content))


@pytest.mark.parametrize(("path", "provider"), [("/anthropic/v1/messages", "anthropic"), ("/nobody/v1/messages", "")])
def test_a_call_that_is_refused_at_the_door_is_recorded_with_the_provider_it_names(
    proxy: Proxy, path: str, provider: str
) -> None:
    request_id = f"refused-{provider or 'nobody'}"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nhost: b\r\nx-request-id: {request_id}\r\ncontent-length: 0\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(12) == (b"HTTP/1.1 400" if provider else b"HTTP/1.1 404")

    event = next(event for event in proxy.events() if event.request_id == request_id)
    assert event.provider == provider


def test_a_streams_usage_and_model_are_read_as_it_passes(proxy: Proxy, upstream: Upstream) -> None:
    last = {
        "id": "chatcmpl-2",
        "model": "gpt-test-2026",
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 9},
    }

    @upstream.on(CHAT)
    async def streams(received: Received, wire: Wire) -> None:
        await wire.start_chunked((b"content-type", b"text/event-stream; charset=utf-8"))
        await wire.chunk(sse(json.dumps({"id": "chatcmpl-2", "model": "gpt-test-2026", "choices": []})))
        tail = sse(json.dumps(last), "[DONE]")
        await wire.chunk(tail[:40])
        await wire.chunk(tail[40:])
        await wire.end()

    with proxy.client() as client:
        response = client.post(CHAT, json={"model": "gpt-test", "stream": True})

    event = proxy.event_of(response)
    assert event.streamed
    assert (event.usage, event.response_id) == (Usage(input=7, output=9), "chatcmpl-2")


@pytest.mark.parametrize(
    ("recording", "bodies", "end_user"), [("full", True, "u"), ("metadata", False, "u"), ("off", False, "")]
)
def test_what_is_recorded_is_the_projects_choice(
    proxy: Proxy, upstream: Upstream, recording: str, bodies: bool, end_user: str
) -> None:
    answer_with(upstream, ANSWER)

    async def make(stores: Any) -> str:
        project_id = await make_project(stores, f"{recording} {time.monotonic_ns()}", recording=recording)
        return (await make_token(stores, project_id))[1]

    token = proxy.run(make)
    with proxy.client(headers={"authorization": f"Bearer {token}"}) as client:
        response = client.post(CHAT, json={"model": "gpt-test", "user": "u"})

    event = proxy.event_of(response)
    assert (event.request_body is not None, event.response_body is not None) == (bodies, bodies)
    assert (event.end_user, event.recording) == (end_user, recording)
    assert event.usage is not None


def test_recorded_bodies_are_bounded_and_say_so(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.environ |= {"OBSERVABILITY_MAX_REQUEST_BODY_BYTES": "10", "OBSERVABILITY_MAX_RESPONSE_BODY_BYTES": "20"}
    own_proxy.start()

    with own_proxy.client() as client:
        response = client.post("/v1/files", content=b"x" * 3_000_000)

    event = own_proxy.event_of(response)
    assert event.request_body is not None
    assert event.response_body is not None
    assert (event.request_body.data, event.request_body.truncated) == (b"x" * 10, True)
    assert (event.response_body.data, event.response_body.truncated) == (b"x" * 20, True)
    assert (event.request_bytes, event.response_bytes) == (3_000_000, 3_000_000)


def test_preflights_and_refused_calls_are_events_too(proxy: Proxy) -> None:
    with proxy.client() as client:
        preflight = client.options(CHAT, headers={"x-request-id": "preflight-1", "origin": "https://a.example"})
        refused = client.get("/nobody/v1/models")

    assert preflight.status_code == 204
    eventually(lambda: [e for e in proxy.events() if e.request_id == "preflight-1" and e.status == 204])
    assert proxy.event_of(refused).code == "provider_not_found"


def test_no_secret_is_in_any_event_log_or_metric(own_proxy: Proxy, upstream: Upstream) -> None:
    """A canary in every place where a client may put a secret; then every file of the proxy is searched for them."""
    canaries = {
        n: f"CANARY-{n}-0123456789" for n in ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie")
    }
    own_proxy.environ["LOG_LEVEL"] = "debug"
    own_proxy.start()

    @upstream.on("/v1/broken")
    async def broken(received: Received, wire: Wire) -> None:
        wire.cut()

    with own_proxy.client() as client:
        for target in (
            "/v1/models",
            "/v1/broken",
            "/anthropic/v1/x",
            "/gemini/v1beta/x",
            "/azure/openai/x",
            "/nobody/x",
        ):
            for headers in ({}, canaries, {**canaries, "authorization": f"Bearer {canaries['authorization']}"}):
                client.get(f"{target}?key=CANARY-query-0123456789&key={own_proxy.token}", headers=headers)
        metrics = client.get("/metrics").text + client.get("/metrics/prometheus").text

    events = repr(own_proxy.events())
    written = b"".join(
        p.read_bytes() for p in own_proxy.folder.rglob("*") if p.is_file() and p.name != "providers.yaml"
    )
    for secret in ("CANARY-", own_proxy.token, API_KEY):
        assert secret not in events
        assert secret not in metrics
        if secret != API_KEY:  # without an ENCRYPTION_KEY an API key lies in the database in clear, as is documented
            assert secret.encode() not in written
    assert API_KEY not in own_proxy.log()


def test_each_exchange_is_one_line_of_json_in_the_log(own_proxy: Proxy) -> None:
    own_proxy.start()
    with own_proxy.client() as client:
        response = client.get("/v1/models?secret=1")

    def lines() -> list[dict[str, Any]]:
        parsed = [json.loads(line) for line in own_proxy.log().splitlines() if line.startswith("{")]
        return [line for line in parsed if line["msg"] == "exchange"]

    eventually(lambda: len(lines()) == 1)
    line = lines()[0]
    assert line["event_id"] == response.headers["x-llm-proxy-event-id"]
    assert (line["status"], line["path"], line["project_id"]) == (200, "/v1/models", own_proxy.project_id)


def test_a_worker_that_dies_leaves_a_note_of_each_open_exchange(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.start()

    @upstream.on(CHAT)
    async def endless(received: Received, wire: Wire) -> None:
        await wire.start_chunked((b"content-type", b"text/event-stream"))
        await wire.chunk(sse("one"))
        await wire.gone()

    with own_proxy.client() as client, client.stream("POST", CHAT, json={"stream": True}) as response:
        chunks = response.iter_raw()  # held: a generator that is thrown away would hang up
        next(chunks)
        own_proxy.kill()

    (began,) = own_proxy.begun()
    assert began.event_id == response.headers["x-llm-proxy-event-id"]
    assert began.interrupted().cut == "interrupted"
    assert own_proxy.events() == []


@pytest.mark.slow
@pytest.mark.parametrize(("when_full", "last"), [("reject", (503, "spool_full")), ("drop", (200, None))])
def test_a_full_spool_refuses_or_drops_as_is_configured(
    own_proxy: Proxy, when_full: str, last: tuple[int, str | None]
) -> None:
    own_proxy.environ |= {
        "LLM_PROXY_SPOOL_MAX_BYTES": str(1024 * 1024),
        "LLM_PROXY_SPOOL_SEGMENT_BYTES": str(128 * 1024),
        "LLM_PROXY_SPOOL_WHEN_FULL": when_full,
    }
    own_proxy.start()

    def is_full() -> bool:
        return "llm_proxy_record_dropped_total 0" not in client.get("/metrics/prometheus").text

    with own_proxy.client() as client:
        for _ in range(2000):
            response = client.get("/v1/models", headers={"user-agent": "u" * 1024})
            if response.status_code != 200 or (when_full == "drop" and _ % 50 == 0 and is_full()):
                break
        ready = client.get("/ready").text

    code = response.json()["code"] if response.status_code != 200 else None
    assert (response.status_code, code) == last
    if when_full == "reject":
        assert response.headers["retry-after"] == "10"
    else:
        assert "degraded: spool" in ready
