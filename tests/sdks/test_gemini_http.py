"""Gemini's REST API as its clients call it: the key in a header or in the query, streams as server-sent events."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sdks import gemini_replies as gemini
from tests.sdks import openai_replies as openai
from tests.sdks.records import Records
from tests.sdks.script import answers, breaks_after, sent_json, streams
from tests.support.proxy import API_KEY, Proxy
from tests.support.upstream import Upstream

GENERATE = f"/v1beta/models/{gemini.MODEL}:generateContent"
STREAM = f"/v1beta/models/{gemini.MODEL}:streamGenerateContent"
CALL: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Wie sagt man hallo?"}]}]}


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    """No token yet: each test shows it where a client of Gemini's may."""
    with httpx.Client(base_url=f"{proxy.url}/gemini", timeout=60) as client:
        yield client


def data_lines(*documents: dict[str, Any]) -> list[bytes]:
    return [b"data: %b\r\n\r\n" % json.dumps(d).encode() for d in documents]


def documents_in(stream: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("place", ["header", "query"])
def test_content_is_generated_whichever_way_the_key_is_shown(
    proxy: Proxy, client: httpx.Client, upstream: Upstream, records: Records, place: str
) -> None:
    answers(upstream, GENERATE, gemini.generated({"text": "Grüezi!"}))
    in_header = {"x-goog-api-key": proxy.token} if place == "header" else {}
    in_query = {"key": proxy.token} if place == "query" else {}

    response = client.post(GENERATE, json=CALL, headers=in_header, params={**in_query, "fields": "candidates"})

    assert response.json()["candidates"][0]["content"]["parts"] == [{"text": "Grüezi!"}]
    received = upstream.received[-1]
    assert received.all("x-goog-api-key") == [API_KEY.encode()]
    assert received.target == f"{GENERATE}?fields=candidates"
    assert sent_json(upstream) == CALL
    records.tell(model=gemini.MODEL, usage=gemini.COUNTED, response_id=gemini.RESPONSE_ID)
    assert (records.the_one().provider, records.the_one().dialect) == ("gemini", "gemini")


@pytest.mark.parametrize("place", ["header", "query"])
def test_content_is_streamed_as_server_sent_events(
    proxy: Proxy, client: httpx.Client, upstream: Upstream, records: Records, place: str
) -> None:
    streams(upstream, STREAM, data_lines(*gemini.text_pieces("Grü", "ezi", "!")))
    in_header = {"x-goog-api-key": proxy.token} if place == "header" else {}
    in_query = {"key": proxy.token} if place == "query" else {}

    with client.stream("POST", STREAM, json=CALL, headers=in_header, params={"alt": "sse", **in_query}) as response:
        told = documents_in(response.read().decode())

    assert [d["candidates"][0]["content"]["parts"][0]["text"] for d in told] == ["Grü", "ezi", "!"]
    assert upstream.received[-1].target == f"{STREAM}?alt=sse"
    records.tell(model=gemini.MODEL, usage=gemini.COUNTED, response_id=gemini.RESPONSE_ID, streamed=True)


def test_content_is_streamed_as_one_long_array_without_alt(
    proxy: Proxy, client: httpx.Client, upstream: Upstream, records: Records
) -> None:
    pieces = gemini.text_pieces("Grü", "ezi")
    answers(upstream, STREAM, pieces)

    response = client.post(STREAM, json=CALL, headers={"x-goog-api-key": proxy.token})

    assert response.json() == pieces
    records.tell(model=gemini.MODEL, usage=gemini.COUNTED, response_id=gemini.RESPONSE_ID)


def test_function_calls_pass(proxy: Proxy, client: httpx.Client, upstream: Upstream) -> None:
    call = {"functionCall": {"name": "get_weather", "args": {"city": "Zürich"}}}
    answers(upstream, GENERATE, gemini.generated(call))
    tools = [{"functionDeclarations": [{"name": "get_weather", "parameters": {"type": "OBJECT"}}]}]

    response = client.post(GENERATE, json={**CALL, "tools": tools}, headers={"x-goog-api-key": proxy.token})

    assert response.json()["candidates"][0]["content"]["parts"] == [call]
    assert sent_json(upstream)["tools"] == tools


def test_counts_and_models_pass(proxy: Proxy, client: httpx.Client, upstream: Upstream, records: Records) -> None:
    answers(upstream, f"/v1beta/models/{gemini.MODEL}:countTokens", {"totalTokens": 7})
    answers(upstream, "/v1beta/models", {"models": [{"name": f"models/{gemini.MODEL}"}]})
    key = {"x-goog-api-key": proxy.token}

    counted = client.post(f"/v1beta/models/{gemini.MODEL}:countTokens", json=CALL, headers=key)
    listed = client.get("/v1beta/models", params={"pageSize": 5}, headers=key)

    assert (counted.json(), listed.json()["models"][0]["name"]) == ({"totalTokens": 7}, f"models/{gemini.MODEL}")
    assert [e.usage for e in records.fresh()] == [None, None]


def test_a_file_is_uploaded_in_resumable_steps(proxy: Proxy, client: httpx.Client, upstream: Upstream) -> None:
    answers(upstream, "/upload/v1beta/files", {}, (b"x-goog-upload-url", f"{upstream.url}/elsewhere".encode()))

    response = client.post(
        "/upload/v1beta/files",
        json={"file": {"display_name": "a.pdf"}},
        headers={
            "x-goog-api-key": proxy.token,
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
        },
    )

    assert response.headers["x-goog-upload-url"] == f"{upstream.url}/elsewhere"
    assert upstream.received[-1].all("x-goog-upload-command") == [b"start"]


@pytest.mark.parametrize("shown", [{}, {"x-goog-api-key": "AIza-wrong"}])
def test_a_refused_token_is_told_in_geminis_words(
    client: httpx.Client, records: Records, shown: dict[str, str]
) -> None:
    response = client.post(GENERATE, json=CALL, headers=shown)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (401, 401, "UNAUTHENTICATED")
    assert error["details"][0]["reason"] == records.the_one().code == "invalid_token"


def test_an_upstreams_own_error_passes_as_it_is(proxy: Proxy, client: httpx.Client, upstream: Upstream) -> None:
    told = {"error": {"code": 429, "message": "Resource has been exhausted", "status": "RESOURCE_EXHAUSTED"}}
    answers(upstream, GENERATE, told, status=429)

    response = client.post(GENERATE, json=CALL, headers={"x-goog-api-key": proxy.token})

    assert (response.status_code, response.json()) == (429, told)


def test_a_stream_that_breaks_ends_with_geminis_error_object(
    proxy: Proxy, client: httpx.Client, upstream: Upstream, records: Records
) -> None:
    breaks_after(upstream, STREAM, data_lines(*gemini.text_pieces("Grü", "ezi"))[:1])

    response = client.post(STREAM, params={"alt": "sse", "key": proxy.token}, json=CALL)

    *_, last = documents_in(response.text)
    assert last["error"]["details"][0]["reason"] == "upstream_cut"
    assert (records.the_one().cut, records.the_one().code) == ("upstream", "upstream_cut")


def test_openais_client_form_on_gemini_is_counted_too(
    proxy: Proxy, client: httpx.Client, upstream: Upstream, records: Records
) -> None:
    answers(upstream, "/v1beta/openai/chat/completions", openai.completion("Hi"))

    client.post(
        "/v1beta/openai/chat/completions",
        json={"model": gemini.MODEL, "messages": []},
        headers={"authorization": f"Bearer {proxy.token}"},
    )

    records.tell(model=gemini.MODEL, usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID)
