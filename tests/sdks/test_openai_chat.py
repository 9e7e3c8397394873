"""Chat completions through the official OpenAI client: streamed, not streamed, with tools, and what is recorded."""

import json

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.sdks import openai_replies as openai
from tests.sdks.records import Records
from tests.sdks.script import OPENAI_HEADERS, answers, data_events, sent_json, streams
from tests.support.proxy import API_KEY, Proxy
from tests.support.upstream import Upstream

CHAT = "/v1/chat/completions"
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Wie sagt man hallo?"}]


def test_a_completion_comes_back_as_the_sdks_own_object(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    answers(upstream, CHAT, openai.completion("Grüezi!"))

    reply = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, user="u-7")

    assert reply.choices[0].message.content == "Grüezi!"
    assert reply.usage is not None and reply.usage.total_tokens == 61
    records.tell(model="gpt-4.1", usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID)
    assert records.the_one().end_user == "u-7"
    assert records.the_one().response_model == openai.MODEL


def test_the_upstream_sees_the_clients_call_with_the_projects_key(
    proxy: Proxy, openai_client: OpenAI, upstream: Upstream
) -> None:
    answers(upstream, CHAT, openai.completion())

    openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, seed=7)

    received = upstream.received[-1]
    assert sent_json(upstream) == {"model": "gpt-4.1", "messages": ASKED, "seed": 7}
    assert received.all("authorization") == [f"Bearer {API_KEY}".encode()]
    assert received.all("user-agent")[0].startswith(b"OpenAI/Python")
    assert received.all("x-stainless-lang") == [b"python"]
    assert proxy.token.encode() not in repr(received).encode()


@pytest.mark.parametrize("cut_every", [0, 1, 7, 4096])
def test_a_streamed_completion_arrives_piece_by_piece(
    openai_client: OpenAI, upstream: Upstream, records: Records, cut_every: int
) -> None:
    streams(upstream, CHAT, data_events(*openai.text_chunks("Grü", "ezi", "!")), cut_every=cut_every)

    stream = openai_client.chat.completions.create(
        model="gpt-4.1",
        messages=ASKED,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)

    assert [c.choices[0].delta.content for c in chunks if c.choices] == ["", "Grü", "ezi", "!", None]
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 21
    records.tell(model="gpt-4.1", usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID, streamed=True)


def test_a_stream_that_tells_no_usage_is_counted_and_marked_though_the_client_hangs_up_at_its_end(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    streams(upstream, CHAT, data_events(*openai.text_chunks("Grüezi")[:-1]))

    stream = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
    list(stream)

    event = records.the_one()
    assert (event.model, event.response_id, event.streamed, event.cut) == ("gpt-4.1", openai.CHAT_ID, True, "")
    assert (event.usage_source, event.usage is not None and event.usage.output > 0) == ("estimate", True)


def test_the_streaming_helper_gathers_the_whole_completion(openai_client: OpenAI, upstream: Upstream) -> None:
    streams(upstream, CHAT, data_events(*openai.text_chunks("Grü", "ezi")))

    with openai_client.chat.completions.stream(model="gpt-4.1", messages=ASKED) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()

    assert "".join(deltas) == "Grüezi"
    assert final.choices[0].message.content == "Grüezi"


def test_tool_calls_pass_whole(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    answers(upstream, CHAT, openai.completion(None, tool_calls=[openai.TOOL_CALL]))

    reply = openai_client.chat.completions.create(model="gpt-4.1", messages=ASKED, tools=[openai.WEATHER_TOOL])

    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Zürich"}
    assert sent_json(upstream)["tools"] == [openai.WEATHER_TOOL]
    records.tell(model="gpt-4.1", usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID)


def test_tool_calls_pass_streamed(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    streams(upstream, CHAT, data_events(*openai.tool_chunks('{"ci', 'ty":"Zürich"}')))

    stream = openai_client.chat.completions.create(
        model="gpt-4.1",
        messages=ASKED,
        tools=[openai.WEATHER_TOOL],
        stream=True,
    )
    arguments = [
        call.function.arguments or ""
        for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.function
    ]

    assert json.loads("".join(arguments)) == {"city": "Zürich"}
    records.tell(model="gpt-4.1", usage=openai.CHAT_COUNTED, response_id=openai.CHAT_ID, streamed=True)


def test_an_answer_to_a_tool_call_passes(openai_client: OpenAI, upstream: Upstream) -> None:
    answers(upstream, CHAT, openai.completion("12 Grad"))
    talk: list[ChatCompletionMessageParam] = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [openai.TOOL_CALL]},
        {"role": "tool", "tool_call_id": "call_62136", "content": "12"},
    ]

    openai_client.chat.completions.create(model="gpt-4.1", messages=talk)

    assert sent_json(upstream)["messages"] == talk


def test_the_raw_response_shows_the_upstreams_headers_and_ours(
    proxy: Proxy, openai_client: OpenAI, upstream: Upstream
) -> None:
    answers(upstream, CHAT, openai.completion(), *OPENAI_HEADERS)

    raw = openai_client.chat.completions.with_raw_response.create(model="gpt-4.1", messages=ASKED)

    assert raw.parse().id == openai.CHAT_ID
    assert (raw.request_id, raw.headers["openai-processing-ms"]) == ("req_2f0c1b", "12")
    assert raw.headers["x-ratelimit-remaining-requests"] == "9999"
    assert 0 <= float(raw.headers["x-llm-proxy-overhead-ms"]) < 1000
    event = proxy.event(raw.headers["x-llm-proxy-event-id"])
    assert event.request_id == raw.headers["x-llm-proxy-request-id"]


def test_the_raw_headers_of_a_stream_come_before_its_end(
    proxy: Proxy, openai_client: OpenAI, upstream: Upstream
) -> None:
    streams(upstream, CHAT, data_events(*openai.text_chunks("a")), *OPENAI_HEADERS)

    with openai_client.chat.completions.with_streaming_response.create(
        model="gpt-4.1",
        messages=ASKED,
        stream=True,
    ) as raw:
        assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert raw.headers["x-request-id"] == "req_2f0c1b"
        lines = [line for line in raw.iter_lines() if line]

    assert lines[-1] == "data: [DONE]"
    assert proxy.event(raw.headers["x-llm-proxy-event-id"]).streamed


def test_legacy_completions_pass(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    choice = {"text": "This is a test", "index": 0, "logprobs": None, "finish_reason": "length"}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1589478378, "model": "gpt-3.5-turbo-instruct"}
    answers(upstream, "/v1/completions", {**head, "choices": [choice], "usage": usage})

    reply = openai_client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say this is a test")

    assert reply.choices[0].text == "This is a test"
    event = records.the_one()
    assert (event.response_id, event.usage and event.usage.completion_tokens) == ("cmpl-1", 7)
