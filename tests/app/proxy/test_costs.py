"""What an exchange costs is in its event; what nobody knows the price of is null there, and counted."""

import json
from typing import Any

from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire

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
