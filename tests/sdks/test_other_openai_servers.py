"""The OpenAI client against others that speak its form: Azure's resource, OpenRouter; and the async client."""

import asyncio

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AuthenticationError, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.sdks import openai_replies as openai
from tests.sdks.records import Records
from tests.sdks.script import answers, data_events, named_events, streams
from tests.support.proxy import API_KEY, Proxy
from tests.support.upstream import Upstream

ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
AZURE_CHAT = "/openai/deployments/gpt-4.1/chat/completions"
API_VERSION = "2024-10-21"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_azures_own_client_is_served(proxy: Proxy, upstream: Upstream, records: Records, is_streamed: bool) -> None:
    if is_streamed:
        filtered = openai.chunk(None, id="", model="", object="", prompt_filter_results=[{"prompt_index": 0}])
        streams(upstream, AZURE_CHAT, data_events(filtered, *openai.text_chunks("Hi")))
    else:
        answers(upstream, AZURE_CHAT, openai.completion("Hi"), (b"apim-request-id", b"abc"))

    with AzureOpenAI(azure_endpoint=f"{proxy.url}/azure", api_key=proxy.token, api_version=API_VERSION) as client:
        if is_streamed:
            stream = client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
            text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        else:
            text = client.chat.completions.create(model="gpt-4.1", messages=ASKED).choices[0].message.content or ""

    assert text == "Hi"
    received = upstream.received[-1]
    assert received.target == f"{AZURE_CHAT}?api-version={API_VERSION}"
    assert received.all("api-key") == [API_KEY.encode()]
    assert received.all("authorization") == []
    records.tell(model="gpt-4.1", usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID, streamed=is_streamed)
    assert records.the_one().provider == "azure"


def test_azures_v1_endpoint_is_served_to_the_plain_client(proxy: Proxy, upstream: Upstream, records: Records) -> None:
    answers(upstream, "/openai/v1/responses", openai.response("Hi"))

    with OpenAI(base_url=f"{proxy.url}/azure/openai/v1/", api_key=proxy.token) as client:
        assert client.responses.create(model="my-deployment", input="hello").output_text == "Hi"

    assert upstream.received[-1].all("api-key") == [API_KEY.encode()]
    records.tell(model="my-deployment", usage=openai.RESPONSE_COUNTED, response_id=openai.RESPONSE_ID)


def test_an_azure_client_with_a_wrong_token_gets_its_authentication_error(proxy: Proxy) -> None:
    with AzureOpenAI(azure_endpoint=f"{proxy.url}/azure", api_key="wrong", api_version=API_VERSION) as client:
        with pytest.raises(AuthenticationError) as caught:
            client.chat.completions.create(model="gpt-4.1", messages=ASKED)

    assert caught.value.code == "invalid_token"


async def test_azures_async_client_is_served(proxy: Proxy, upstream: Upstream) -> None:
    streams(upstream, AZURE_CHAT, data_events(*openai.text_chunks("H", "i")))

    async with AsyncAzureOpenAI(
        azure_endpoint=f"{proxy.url}/azure", api_key=proxy.token, api_version=API_VERSION
    ) as client:
        stream = await client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
        words = [c.choices[0].delta.content or "" async for c in stream if c.choices]

    assert "".join(words) == "Hi"


def test_openrouter_is_served_with_its_comments_and_its_own_headers(
    proxy: Proxy, upstream: Upstream, records: Records
) -> None:
    events = [b": OPENROUTER PROCESSING\n\n", *data_events(*openai.text_chunks("Hi"))]
    streams(upstream, "/api/v1/chat/completions", events)
    named = {"HTTP-Referer": "https://example.org", "X-Title": "Goats"}

    with OpenAI(base_url=f"{proxy.url}/openrouter/v1", api_key=proxy.token, default_headers=named) as client:
        stream = client.chat.completions.create(model="anthropic/claude-sonnet-5", messages=ASKED, stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)

    assert text == "Hi"
    assert upstream.received[-1].all("http-referer") == [b"https://example.org"]
    assert upstream.received[-1].all("authorization") == [f"Bearer {API_KEY}".encode()]
    records.tell(
        model="anthropic/claude-sonnet-5", usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID, streamed=True
    )
    assert records.the_one().provider == "openrouter"


async def test_the_async_client_is_served_with_many_calls_at_once(
    proxy: Proxy, upstream: Upstream, records: Records
) -> None:
    answers(upstream, "/v1/chat/completions", openai.completion("Hi"))
    streams(upstream, "/v1/responses", named_events(*openai.response_events("Grü", "ezi")))

    async with AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.token) as client:
        calls = [client.chat.completions.create(model="gpt-4.1", messages=ASKED) for _ in range(30)]
        replies = await asyncio.gather(*calls)
        stream = await client.responses.create(model="gpt-4.1", input="hello", stream=True)
        deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]

    assert {r.choices[0].message.content for r in replies} == {"Hi"}
    assert deltas == ["Grü", "ezi"]
    assert len(records.fresh()) == 31
    assert len({e.event_id for e in records.fresh()}) == 31
