"""LLM_PROXY_INCLUDE_USAGE: the provider is asked, the record has the answer, the client has what it wanted."""

import json
from typing import Any

import pytest

from app.processors.ask_for_usage import check_providers
from bus.event import Usage
from config.errors import ConfigError
from config.providers import SHIPPED_FILE, load_providers
from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire, sse

CHAT = "/v1/chat/completions"
SAID = {"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "hi"}}], "usage": None}
TOLD = {"id": "c1", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


def test_a_client_that_did_not_ask_sees_no_usage_and_its_record_has_it(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.environ["LLM_PROXY_INCLUDE_USAGE"] = "openai"
    own_proxy.start()
    received_calls: list[Received] = []

    @upstream.on(CHAT)
    async def streams(received: Received, wire: Wire) -> None:
        received_calls.append(received)
        asked = json.loads(received.body).get("stream_options", {}).get("include_usage")
        await wire.start_chunked((b"content-type", b"text/event-stream"))
        stream = sse(*map(json.dumps, [SAID, TOLD] if asked else [SAID]), "[DONE]")
        await wire.chunk(stream[:150])
        await wire.chunk(stream[150:])
        await wire.end()

    call: dict[str, Any] = {"model": "gpt-4o", "stream": True, "messages": []}
    with own_proxy.client(headers={"accept-encoding": "gzip"}) as client:
        unasked = client.post(CHAT, json=call)
        asked = client.post(CHAT, json=call | {"stream_options": {"include_usage": True}})

    assert unasked.content == sse(json.dumps(SAID), "[DONE]")
    assert asked.content == sse(json.dumps(SAID), json.dumps(TOLD), "[DONE]")
    for response in (unasked, asked):
        event = own_proxy.event_of(response)
        assert (event.usage, event.usage_source, event.cost_microusd) == (Usage(input=100, output=10), "provider", 350)
    first, second = (dict(received.headers) for received in received_calls)
    assert (first[b"accept-encoding"], second[b"accept-encoding"]) == (b"identity", b"gzip")


def test_only_providers_that_there_are_can_be_asked() -> None:
    providers = load_providers(SHIPPED_FILE)

    check_providers(("openai", "azure"), providers)
    with pytest.raises(ConfigError, match="anthropic"):
        check_providers(("anthropic",), providers)
