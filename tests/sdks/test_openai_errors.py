"""Refusals reach a program as the OpenAI client's own exceptions, with our stable code in them; so do an upstream's."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from sql.repositories import api_keys, changes
from sql.stores import Stores
from tests.sdks import openai_replies
from tests.sdks.conftest import shipped_apis
from tests.sdks.records import Records
from tests.sdks.script import OPENAI_HEADERS, answers
from tests.support.proxy import Proxy, make_project, make_token, now_ms
from tests.support.upstream import Received, Upstream, Wire

CHAT = "/v1/chat/completions"
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
LIMIT_BYTES = 300_000


@pytest.fixture(scope="module")
def shared_proxy(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """As the others', but strict, and with an upstream that is not there."""
    apis = shipped_apis(shared_upstream)
    apis["openai"] |= {"param_whitelist": {"model": ["gpt-4*"]}}
    apis["openrouter"]["base_url"] = "http://127.0.0.1:1/api"
    proxy = Proxy(tmp_path_factory.mktemp("strict"), shared_upstream, apis=apis)
    proxy.environ["LLM_PROXY_MAX_REQUEST_BODY_BYTES"] = str(LIMIT_BYTES)
    try:
        yield proxy.start()
    finally:
        proxy.kill()


def chat(client: OpenAI, **options: Any) -> None:
    client.chat.completions.create(**{"model": "gpt-4.1", "messages": ASKED, **options})


def refused_token(proxy: Proxy, kind: str) -> str:
    match kind:
        case "expired":
            return proxy.new_token(expires_at_ms=now_ms() - 1)[1]
        case "revoked":
            return proxy.new_token(is_active=False)[1]
        case _:
            return "sk-nobody-has-ever-seen-this-token"


def keyless_token(proxy: Proxy) -> str:
    """Of a project that has no API key for any provider."""

    async def make(stores: Stores) -> str:
        project_id = await make_project(stores, f"keyless {now_ms()}")
        for row in await api_keys.for_project(stores.main, stores.sealer, project_id):
            await api_keys.delete(stores.main, row.id, project_id)
        await changes.append(stores.main, "project", project_id, now_ms())
        return (await make_token(stores, project_id))[1]

    return proxy.run(make)


@pytest.mark.parametrize(
    ("kind", "code"), [("unknown", "invalid_token"), ("expired", "token_expired"), ("revoked", "token_inactive")]
)
def test_a_refused_token_is_an_authentication_error(
    proxy: Proxy, openai_client: OpenAI, records: Records, kind: str, code: str
) -> None:
    client = openai_client.with_options(api_key=refused_token(proxy, kind))

    with pytest.raises(openai.AuthenticationError) as caught:
        chat(client)

    error = caught.value
    assert (error.status_code, error.code, error.type) == (401, code, "authentication_error")
    assert "token" in error.message
    event = records.the_one()
    assert (event.status, event.code, event.attempts) == (401, code, 0)
    assert error.response.headers["x-llm-proxy-event-id"] == event.event_id


def test_an_inactive_project_is_a_permission_error(proxy: Proxy, openai_client: OpenAI, records: Records) -> None:
    async def make(stores: Any) -> str:
        project_id = await make_project(stores, "closed", is_active=False)
        return (await make_token(stores, project_id))[1]

    with pytest.raises(openai.PermissionDeniedError) as caught:
        chat(openai_client.with_options(api_key=proxy.run(make)))

    assert (caught.value.code, records.the_one().status) == ("project_inactive", 403)


def test_a_closed_endpoint_is_not_found(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.fine_tuning.jobs.create(model="gpt-4.1", training_file="file-abc123")

    assert (caught.value.code, records.the_one().code) == ("endpoint_not_found", "endpoint_not_found")
    assert upstream.received == []


def test_an_unknown_provider_is_not_found(proxy: Proxy, openai_client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        chat(openai_client.with_options(base_url=f"{proxy.url}/nobody/v1"))

    assert caught.value.code == "provider_not_found"


def test_a_parameter_that_is_not_allowed_is_a_bad_request(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(openai_client, model="o3")

    assert caught.value.code == "param_not_allowed"
    assert "gpt-4*" in caught.value.message
    assert records.the_one().status == 400
    assert upstream.received == []


@pytest.mark.parametrize("size", [LIMIT_BYTES + 1, 40_000_000])
def test_a_file_that_is_too_large_is_413_and_not_a_broken_connection(
    openai_client: OpenAI, upstream: Upstream, records: Records, size: int
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        openai_client.files.create(file=bytes(size), purpose="batch")

    assert (caught.value.status_code, caught.value.code) == (413, "body_too_large")
    assert upstream.received == []
    assert records.the_one().status == 413


def test_a_used_up_quota_is_a_rate_limit_error_and_is_not_asked_again(
    proxy: Proxy, openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    answers(upstream, CHAT, openai_replies.completion())
    client = openai_client.with_options(api_key=proxy.new_token(max_requests=1)[1])
    chat(client)

    with pytest.raises(openai.RateLimitError) as caught:
        chat(client)

    assert caught.value.code == "quota_exceeded"
    assert [e.status for e in records.fresh()] == [200, 429]
    assert len(upstream.received) == 1


def test_an_upstream_that_is_away_is_502(proxy: Proxy, openai_client: OpenAI, records: Records) -> None:
    client = openai_client.with_options(base_url=f"{proxy.url}/openrouter/v1", max_retries=0)

    with pytest.raises(openai.InternalServerError) as caught:
        chat(client)

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")
    assert records.the_one().code == "upstream_unreachable"


def test_an_upstream_that_hangs_up_is_502(openai_client: OpenAI, upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def hang_up(received: Received, wire: Wire) -> None:
        wire.cut()

    with pytest.raises(openai.InternalServerError) as caught:
        chat(openai_client.with_options(max_retries=0))

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_cut")


def test_a_project_without_a_key_for_the_provider_is_503(proxy: Proxy, openai_client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        chat(openai_client.with_options(api_key=keyless_token(proxy), max_retries=0))

    assert (caught.value.status_code, caught.value.code) == (503, "upstream_key_missing")


def test_what_trying_again_does_not_heal_is_not_tried_again(
    proxy: Proxy, openai_client: OpenAI, records: Records
) -> None:
    token = keyless_token(proxy)

    with pytest.raises(openai.InternalServerError):
        chat(openai_client.with_options(api_key=token))

    assert [e.code for e in records.fresh()] == ["upstream_key_missing"]


def test_what_trying_again_heals_the_sdk_tries_again(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    @upstream.on(CHAT)
    async def cut_once(received: Received, wire: Wire) -> None:
        answers(upstream, CHAT, openai_replies.completion())
        wire.cut()

    chat(openai_client)

    assert [(e.status, e.code) for e in records.fresh()] == [(502, "upstream_cut"), (200, "")]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, "server_error"),
        (400, openai.BadRequestError, "context_length_exceeded"),
        (401, openai.AuthenticationError, "invalid_api_key"),
    ],
)
def test_an_upstreams_own_error_arrives_with_its_body_and_id(
    openai_client: OpenAI,
    upstream: Upstream,
    records: Records,
    status: int,
    kind: type[openai.APIStatusError],
    code: str,
) -> None:
    told = {"message": "their words", "type": "their_type", "param": "messages", "code": code}
    answers(upstream, CHAT, {"error": told}, *OPENAI_HEADERS, (b"retry-after", b"1"), status=status)

    with pytest.raises(kind) as caught:
        chat(openai_client.with_options(max_retries=0))

    error = caught.value
    assert (error.status_code, error.body, error.request_id) == (status, told, "req_2f0c1b")
    assert (error.code, error.param, error.type) == (code, "messages", "their_type")
    event = records.the_one()
    assert (event.status, event.code, event.usage) == (status, "", None)


def test_an_upstreams_429_is_asked_again_as_without_a_proxy(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    @upstream.on(CHAT)
    async def limited_once(received: Received, wire: Wire) -> None:
        answers(upstream, CHAT, openai_replies.completion())
        await wire.reply(429, b'{"error": {"message": "slow down"}}', (b"retry-after-ms", b"10"))

    chat(openai_client)

    assert [e.status for e in records.fresh()] == [429, 200]


def test_an_error_page_that_is_no_json_arrives_as_text(openai_client: OpenAI, upstream: Upstream) -> None:
    answers(upstream, CHAT, b"<html>Bad gateway</html>", (b"content-type", b"text/html"), status=502)

    with pytest.raises(openai.InternalServerError) as caught:
        chat(openai_client.with_options(max_retries=0))

    assert caught.value.response.text == "<html>Bad gateway</html>"
