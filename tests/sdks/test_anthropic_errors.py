"""Refusals and failures as the Anthropic client's own exceptions, with our stable code in their body."""

import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam

from tests.sdks import anthropic_replies as claude
from tests.sdks.conftest import shipped_apis
from tests.sdks.records import Records
from tests.sdks.script import EVENT_STREAM, answers, breaks_after, named_events, streams
from tests.support.proxy import Proxy, make_project, make_token, now_ms
from tests.support.upstream import Received, Upstream, Wire

MESSAGES = "/v1/messages"
ASKED: list[MessageParam] = [{"role": "user", "content": "hello"}]
CALL: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": ASKED}


@pytest.fixture(scope="module")
def shared_proxy(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    apis = shipped_apis(shared_upstream)
    apis["anthropic"] |= {"param_whitelist": {"model": ["claude-*"]}}
    proxy = Proxy(tmp_path_factory.mktemp("strict"), shared_upstream, apis=apis)
    proxy.environ["LLM_PROXY_MAX_REQUEST_BODY_BYTES"] = "100000"
    try:
        yield proxy.start()
    finally:
        proxy.kill()


def code_in(error: anthropic.APIStatusError) -> str:
    """Our stable code: where the SDK looks for one, in the error object, and beside it."""
    body: Any = error.body
    assert body["code"] == body["error"]["code"] == error.error_code
    return str(body["code"])


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"expires_at_ms": 1}, "token_expired"),
        ({"is_active": False}, "token_inactive"),
        (None, "invalid_token"),
    ],
)
def test_a_refused_token_is_an_authentication_error(
    proxy: Proxy, anthropic_client: Anthropic, records: Records, changed: dict[str, Any] | None, code: str
) -> None:
    token = "sk-nobody-has-ever-seen-this" if changed is None else proxy.new_token(**changed)[1]

    with pytest.raises(anthropic.AuthenticationError) as caught:
        anthropic_client.with_options(api_key=token).messages.create(**CALL)

    assert (code_in(caught.value), caught.value.type) == (code, "authentication_error")
    assert (records.the_one().status, records.the_one().code) == (401, code)


def test_an_inactive_project_is_a_permission_error(proxy: Proxy, anthropic_client: Anthropic) -> None:
    async def make(stores: Any) -> str:
        return (await make_token(stores, await make_project(stores, "closed", is_active=False)))[1]

    with pytest.raises(anthropic.PermissionDeniedError) as caught:
        anthropic_client.with_options(api_key=proxy.run(make)).messages.create(**CALL)

    assert (code_in(caught.value), caught.value.type) == ("project_inactive", "permission_error")


def test_a_closed_endpoint_is_not_found(anthropic_client: Anthropic, upstream: Upstream) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_client.get("/v1/organizations/me", cast_to=object)

    assert (code_in(caught.value), upstream.received) == ("endpoint_not_found", [])


def test_a_parameter_that_is_not_allowed_is_a_bad_request(anthropic_client: Anthropic, upstream: Upstream) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        anthropic_client.messages.create(**{**CALL, "model": "gpt-4.1"})

    assert (code_in(caught.value), upstream.received) == ("param_not_allowed", [])


def test_a_message_that_is_too_large_is_413(anthropic_client: Anthropic) -> None:
    talk: list[MessageParam] = [{"role": "user", "content": "x" * 200_000}]

    with pytest.raises(anthropic.APIStatusError) as caught:
        anthropic_client.messages.create(**{**CALL, "messages": talk})

    assert (caught.value.status_code, code_in(caught.value)) == (413, "body_too_large")
    assert str(caught.value.type) == "request_too_large"


def test_a_used_up_quota_is_a_rate_limit_error_and_is_not_asked_again(
    proxy: Proxy, anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    answers(upstream, MESSAGES, claude.message(claude.text("Hi")))
    client = anthropic_client.with_options(api_key=proxy.new_token(max_requests=1, created_at_ms=now_ms())[1])
    client.messages.create(**CALL)

    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**CALL)

    assert code_in(caught.value) == "quota_exceeded"
    assert [e.status for e in records.fresh()] == [200, 429]


def test_an_upstream_that_hangs_up_is_502(anthropic_client: Anthropic, upstream: Upstream) -> None:
    client = anthropic_client.with_options(max_retries=0)

    @upstream.on(MESSAGES)
    async def hang_up(received: Received, wire: Wire) -> None:
        wire.cut()

    with pytest.raises(anthropic.InternalServerError) as cut:
        client.messages.create(**CALL)

    assert (cut.value.status_code, code_in(cut.value)) == (502, "upstream_cut")


@pytest.mark.parametrize(
    ("status", "kind", "type_"),
    [
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_an_upstreams_own_error_arrives_with_its_body_and_id(
    anthropic_client: Anthropic,
    upstream: Upstream,
    records: Records,
    status: int,
    kind: type[anthropic.APIStatusError],
    type_: str,
) -> None:
    told = {"type": "error", "error": {"type": type_, "message": "their words"}, "request_id": "req_011C"}
    answers(upstream, MESSAGES, told, (b"request-id", b"req_011C"), status=status)

    with pytest.raises(kind) as caught:
        anthropic_client.with_options(max_retries=0).messages.create(**CALL)

    assert (caught.value.status_code, caught.value.body, caught.value.request_id) == (status, told, "req_011C")
    assert (records.the_one().status, records.the_one().code) == (status, "")


def test_a_stream_that_breaks_raises_the_sdks_api_error(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    breaks_after(upstream, MESSAGES, named_events(*claude.text_events("Grü"))[:4])
    seen = []

    with pytest.raises(anthropic.APIStatusError) as caught:
        with anthropic_client.messages.create(**CALL, stream=True) as stream:
            seen.extend(stream)

    assert seen[-1].type == "content_block_delta"
    assert code_in(caught.value) == "upstream_cut"
    event = records.the_one()
    assert (event.code, event.cut, event.response_id) == ("upstream_cut", "upstream", claude.MESSAGE_ID)
    assert event.usage is not None and event.usage.input == 25, "what was told before the break is counted"


def test_a_stream_that_breaks_in_the_middle_of_an_event_is_a_lost_connection_as_without_a_proxy(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    half = b'event: content_block_delta\ndata: {"type":"content_bl'
    breaks_after(upstream, MESSAGES, named_events(*claude.text_events("Grü"))[:4], half=half)

    with pytest.raises(httpx2.RemoteProtocolError):
        with anthropic_client.messages.create(**CALL, stream=True) as stream:
            list(stream)

    assert (records.the_one().code, records.the_one().cut) == ("upstream_cut", "upstream")


def test_an_upstreams_own_error_in_a_stream_is_passed_on(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    theirs = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    streams(upstream, MESSAGES, named_events(claude.text_events("a")[0], theirs))

    with pytest.raises(anthropic.APIStatusError) as caught:
        with anthropic_client.messages.create(**CALL, stream=True) as stream:
            list(stream)

    assert caught.value.body == theirs
    assert records.the_one().code == ""


def test_a_client_that_leaves_its_stream_early_cancels_the_upstream_at_once(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    has_gone = threading.Event()

    @upstream.on(MESSAGES)
    async def endless(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        for event in named_events(*claude.text_events("Grü"))[:4]:
            await wire.chunk(event)
        if await wire.gone():
            has_gone.set()

    with anthropic_client.messages.stream(**CALL) as stream:
        next(iter(stream.text_stream))

    assert has_gone.wait(60)
    event = records.the_one()
    assert (event.cut, event.streamed, event.response_id) == ("client", True, claude.MESSAGE_ID)
