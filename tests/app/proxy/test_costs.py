"""What an exchange costs is in its event; what nobody knows the price of is null there, and counted."""

import json
from typing import Any

from bus.event import Usage
from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire, sse
from tests.support.waiting import eventually

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}


def answer_with(upstream: Upstream, **answer: Any) -> None:
    @upstream.on(CHAT)
    async def answers(received: Received, wire: Wire) -> None:
        body = {"id": "chatcmpl-1", "choices": [], "usage": USAGE, **answer}
        await wire.reply(200, json.dumps(body).encode(), (b"content-type", b"application/json"))


def test_the_model_that_answered_is_priced(proxy: Proxy, upstream: Upstream) -> None:
    answer_with(upstream, model="gpt-4o-2024-08-06")

    with proxy.client() as client:
        event = proxy.event_of(client.post(CHAT, json={"model": "gpt-4o-mini", "messages": []}))

    assert (event.cost_microusd, event.price_source, event.usage_source) == (1500 + 500 + 1000, "list", "provider")


def test_the_model_that_was_asked_for_is_priced_where_the_reply_names_an_unknown_one(
    proxy: Proxy, upstream: Upstream
) -> None:
    answer_with(upstream, model="house-name-1")

    with proxy.client() as client:
        event = proxy.event_of(client.post(CHAT, json={"model": "gpt-4o", "messages": []}))

    assert event.cost_microusd == 3000


def test_the_service_tier_of_the_reply_is_priced(proxy: Proxy, upstream: Upstream) -> None:
    answer_with(upstream, model="gpt-4o", service_tier="priority")

    with proxy.client() as client:
        event = proxy.event_of(client.post(CHAT, json={"model": "gpt-4o", "messages": []}))

    assert event.cost_microusd == 2550 + 850 + 1700


def test_an_unknown_price_is_null_and_counted(proxy: Proxy, upstream: Upstream) -> None:
    answer_with(upstream, model="nobody-sells-this")
    name = 'llm_proxy_cost_unknown_total{provider="openai"}'

    with proxy.client() as client:
        before = client.get("/metrics").json()["counters"].get(name, 0)
        event = proxy.event_of(client.post(CHAT, json={"model": "nobody-sells-this", "messages": []}))
        after = client.get("/metrics").json()["counters"].get(name, 0)

    assert (event.cost_microusd, event.price_source, event.usage_source) == (None, "", "provider")
    assert after > before


def test_a_refused_call_costs_nothing_and_is_no_unknown_price(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def refuses(received: Received, wire: Wire) -> None:
        await wire.reply(400, b'{"error":{"message":"no"}}', (b"content-type", b"application/json"))

    with proxy.client() as client:
        event = proxy.event_of(client.post(CHAT, json={"model": "gpt-4o", "messages": []}))

    assert (event.usage, event.usage_source, event.cost_microusd) == (None, "", None)


def says(upstream: Upstream, *pieces: str, is_whole: bool) -> None:
    chunks = [{"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]

    @upstream.on(CHAT)
    async def streams(received: Received, wire: Wire) -> None:
        await wire.start_chunked((b"content-type", b"text/event-stream"))
        await wire.chunk(sse(*map(json.dumps, chunks)))
        if is_whole:
            await wire.chunk(sse("[DONE]"))
            await wire.end()
        else:
            await wire.gone()


CALL = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "How many words are in this?"}]}


def test_a_stream_that_tells_no_usage_is_counted_and_marked(proxy: Proxy, upstream: Upstream) -> None:
    says(upstream, "The answer", " is", " forty-two", ".", is_whole=True)

    with proxy.client() as client:
        event = proxy.event_of(client.post(CHAT, json=CALL))

    assert (event.usage, event.usage_source) == (Usage(input=14, output=6), "estimate")
    assert (event.cost_microusd, event.price_source) == (35 + 60, "list")


def test_what_was_said_until_the_client_left_is_counted(proxy: Proxy, upstream: Upstream) -> None:
    says(upstream, "The answer", " is", is_whole=False)

    with proxy.client(headers={"x-request-id": "left-early"}) as client:
        with client.stream("POST", CHAT, json=CALL) as response:
            next(response.iter_raw())

    eventually(lambda: [e for e in proxy.events() if e.request_id == "left-early"])
    left = next(e for e in proxy.events() if e.request_id == "left-early")
    assert (left.cut, left.usage, left.usage_source) == ("client", Usage(input=14, output=3), "estimate")


def test_the_tier_that_gemini_tells_in_a_header_is_kept(proxy: Proxy, upstream: Upstream) -> None:
    path = "/v1beta/models/gemini-3.8-flash-tts:generateContent"

    @upstream.on(path)
    async def answers(received: Received, wire: Wire) -> None:
        usage = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100}
        body = json.dumps({"modelVersion": "gemini-3.8-flash-tts", "usageMetadata": usage}).encode()
        heads = [(b"content-type", b"application/json"), (b"x-gemini-service-tier", b"flex")]
        await wire.reply(200, body, *heads)

    with proxy.client(headers={"x-goog-api-key": proxy.token}) as client:
        event = proxy.event_of(client.post(f"/gemini{path}", json={"contents": []}))

    assert event.usage is not None
    assert event.usage.service_tier == "flex"
    assert event.cost_microusd is not None
