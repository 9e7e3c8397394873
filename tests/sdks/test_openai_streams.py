"""Streams that do not end as they should, seen from the official OpenAI client: broken, silent, left early."""

import asyncio
import json
import threading

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tests.sdks import openai_replies
from tests.sdks.records import Records
from tests.sdks.script import EVENT_STREAM, breaks_after, data_events, named_events, streams
from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire
from tests.support.waiting import eventually

CHAT = "/v1/chat/completions"
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


def endless(upstream: Upstream, path: str, first: bytes) -> threading.Event:
    """A stream that says one thing and then waits for its reader to go; the event is set when it has gone."""
    has_gone = threading.Event()

    @upstream.on(path)
    async def answer(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(first)
        if await wire.gone():
            has_gone.set()

    return has_gone


def test_a_stream_that_breaks_raises_the_sdks_api_error(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    breaks_after(upstream, CHAT, data_events(*openai_replies.text_chunks("Grü"))[:2])
    stream = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
    seen: list[ChatCompletionChunk] = []

    with pytest.raises(openai.APIError) as caught:
        seen.extend(stream)

    assert [c.choices[0].delta.content for c in seen] == ["", "Grü"]
    assert caught.value.code == "upstream_cut"
    event = records.the_one()
    assert (event.status, event.code, event.cut, event.streamed) == (200, "upstream_cut", "upstream", True)
    assert event.response_id == openai_replies.CHAT_ID


def test_a_broken_response_stream_raises_it_too(openai_client: OpenAI, upstream: Upstream) -> None:
    breaks_after(upstream, "/v1/responses", named_events(*openai_replies.response_events("Grü"))[:3])
    stream = openai_client.responses.create(model="gpt-4.1", input="hello", stream=True)

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert caught.value.code == "upstream_cut"


def test_a_stream_that_breaks_in_the_middle_of_an_event_is_an_error_of_the_connection(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    breaks_after(upstream, CHAT, data_events(*openai_replies.text_chunks("Grü"))[:2], half=b"data: {half an eve")
    stream = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
    seen: list[ChatCompletionChunk] = []

    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        seen.extend(stream)

    assert [c.choices[0].delta.content for c in seen] == ["", "Grü"]
    event = records.the_one()
    assert (event.status, event.code, event.cut) == (200, "upstream_cut", "upstream")


def test_an_upstreams_own_error_in_a_stream_is_passed_on(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    theirs = {"error": {"message": "The server had an error", "type": "server_error", "code": "their_code"}}
    streams(upstream, CHAT, data_events(openai_replies.text_chunks("a")[0], theirs)[:2])
    stream = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert caught.value.code == "their_code"
    assert records.the_one().code == ""


def test_a_client_that_closes_its_stream_early_cancels_the_upstream_at_once(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    has_gone = endless(upstream, CHAT, data_events(*openai_replies.text_chunks("Grü"))[0])
    stream = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
    next(iter(stream))

    stream.close()

    assert has_gone.wait(60)
    event = records.the_one()
    assert (event.cut, event.status, event.streamed) == ("client", 200, True)
    assert (event.model, event.response_id) == ("gpt-4.1", openai_replies.CHAT_ID)


async def test_an_async_task_that_is_cancelled_cancels_the_upstream_at_once(
    proxy: Proxy, upstream: Upstream, records: Records
) -> None:
    has_gone = endless(upstream, CHAT, data_events(*openai_replies.text_chunks("Grü"))[0])

    async with AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.token) as client:
        stream = await client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
        async with stream:
            await anext(aiter(stream))

    assert has_gone.wait(60)
    assert records.the_one().cut == "client"


def test_a_client_that_gives_up_before_the_head_cancels_the_upstream(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    has_gone = threading.Event()

    @upstream.on(CHAT)
    async def thinks_on(received: Received, wire: Wire) -> None:
        if await wire.gone():
            has_gone.set()

    with pytest.raises(openai.APITimeoutError):
        openai_client.with_options(max_retries=0, timeout=1.0).chat.completions.create(model="gpt-4.1", messages=ASKED)

    assert has_gone.wait(60)
    event = records.the_one()
    assert (event.cut, event.status, event.model) == ("client", 499, "gpt-4.1")


def test_many_streams_at_once_keep_apart(proxy: Proxy, upstream: Upstream, records: Records) -> None:
    @upstream.on(CHAT)
    async def repeats(received: Received, wire: Wire) -> None:
        word = json.loads(received.body)["messages"][0]["content"]
        await wire.start_chunked(EVENT_STREAM)
        for event in data_events(*openai_replies.text_chunks(*[word] * 20)):
            await wire.chunk(event)
            await asyncio.sleep(0)
        await wire.end()

    async def one(client: AsyncOpenAI, word: str) -> str:
        stream = await client.chat.completions.create(
            model="gpt-4.1", messages=[{"role": "user", "content": word}], stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    async def all_of_them() -> list[str]:
        async with AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.token) as client:
            return await asyncio.gather(*(one(client, f"<{n}>") for n in range(40)))

    told = asyncio.run(all_of_them())

    assert told == [f"<{n}>" * 20 for n in range(40)]
    eventually(lambda: len(records.fresh()) == 40)
    assert {e.usage for e in records.fresh()} == {openai_replies.CHAT_COUNTED}
