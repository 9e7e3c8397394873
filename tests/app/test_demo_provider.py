"""The demo provider, as the official SDKs see it, and the traffic's choices."""

from collections import Counter
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.demo.provider import API_KEY, WEATHER, Provider
from app.demo.traffic import Tokens, Traffic
from app.demo.words import answer, pieces


@pytest.fixture
def wire() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(Provider(pace=0).app()))


@pytest.fixture
def openai_client(wire: httpx2.AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url="http://demo/v1", api_key=API_KEY, http_client=wire, max_retries=0)


@pytest.fixture
def anthropic_client(wire: httpx2.AsyncClient) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url="http://demo", api_key=API_KEY, http_client=wire, max_retries=0)


async def test_chat_streamed_and_whole_say_the_same(openai_client: openai.AsyncOpenAI) -> None:
    call: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}

    whole = await openai_client.chat.completions.create(**call)
    stream = await openai_client.chat.completions.create(**call, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content == answer("hello")
    assert chunks[-1].usage == whole.usage


async def test_responses_streamed_and_whole_say_the_same(openai_client: openai.AsyncOpenAI) -> None:
    whole = await openai_client.responses.create(model="gpt-5-mini", input="hello")
    async with openai_client.responses.stream(model="gpt-5-mini", input="hello") as stream:
        final = await stream.get_final_response()

    assert final.output_text == whole.output_text == answer("hello")
    assert final.usage == whole.usage


async def test_messages_streamed_and_whole_say_the_same(anthropic_client: anthropic.AsyncAnthropic) -> None:
    call: Any = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}

    whole: Any = await anthropic_client.messages.create(**call)
    async with anthropic_client.messages.stream(**call) as stream:
        final: Any = await stream.get_final_message()

    assert [block.text for block in final.content] == [answer("hello")]
    assert whole.content[0].text == answer("hello")
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == "end_turn"


async def test_embeddings_and_models_are_there(
    openai_client: openai.AsyncOpenAI, anthropic_client: anthropic.AsyncAnthropic
) -> None:
    vectors = await openai_client.embeddings.create(
        model="text-embedding-3-small", input=["a", "b", "a"], encoding_format="float"
    )

    assert vectors.data[0].embedding == vectors.data[2].embedding != vectors.data[1].embedding
    assert "gpt-4.1-mini" in [model.id async for model in openai_client.models.list()]
    assert "claude-haiku-4-5" in [model.id async for model in anthropic_client.models.list()]


async def test_a_wrong_key_is_refused_as_the_real_ones_do(wire: httpx2.AsyncClient) -> None:
    client = openai.AsyncOpenAI(base_url="http://demo/v1", api_key="wrong", http_client=wire, max_retries=0)

    with pytest.raises(openai.AuthenticationError):
        await client.models.list()


async def test_without_the_weather_header_every_call_works(wire: httpx2.AsyncClient) -> None:
    headers, body = {"Authorization": f"Bearer {API_KEY}"}, {"input": "x"}

    calm = [(await wire.post("http://demo/v1/embeddings", headers=headers, json=body)).status_code for _ in range(60)]

    assert set(calm) == {200}


def test_with_it_calls_are_at_times_slow_refused_or_fail() -> None:
    provider = Provider()

    outcomes = [provider.weather(is_changing=True) for _ in range(2000)]

    statuses = Counter(outcome.status for outcome in outcomes)
    assert statuses[200] > 1800
    assert statuses[429] > 20
    assert statuses[500] > 10
    assert sum(outcome.thinking_s > 0.5 for outcome in outcomes) > 100


async def test_an_unlucky_call_gets_its_dialects_error(wire: httpx2.AsyncClient) -> None:
    headers = {"x-api-key": API_KEY, "anthropic-version": "2023-06-01", WEATHER: "changing"}
    errors = []

    for _ in range(120):
        reply = await wire.post("http://demo/v1/messages", headers=headers, content=b"{}")
        if reply.is_error:
            errors.append(reply.json()["error"]["type"])

    assert set(errors) <= {"rate_limit_error", "api_error"}
    assert errors


@given(st.text())
def test_pieces_of_an_answer_are_the_answer(question: str) -> None:
    assert "".join(pieces(answer(question))) == answer(question)


def test_traffic_calls_only_what_is_simulated() -> None:
    tokens = Tokens({"shop": "sk-a"}, "sk-revoked", "sk-limited")
    traffic = Traffic("http://nowhere", tokens, ["anthropic"])

    calls = [traffic._next_call() for _ in range(300)]

    assert {path for _, path, _, _ in calls} == {"/anthropic/v1/messages"}
    shown = Counter(headers["x-api-key"] for _, _, headers, _ in calls)
    assert shown["sk-a"] > 200
    assert shown["sk-limited"] > 5
