"""Messages through the official Anthropic client: streamed, not streamed, with tools; counts, models, batches."""

from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from bus.event import Usage
from tests.sdks import anthropic_replies as claude
from tests.sdks.records import Records
from tests.sdks.script import answers, named_events, sent_json, streams
from tests.support.proxy import API_KEY, Proxy
from tests.support.upstream import Upstream

MESSAGES = "/v1/messages"
ASKED: list[MessageParam] = [{"role": "user", "content": "Wie sagt man hallo?"}]
WEATHER: ToolParam = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {}}}}
CALL: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": ASKED}


def test_a_message_comes_back_as_the_sdks_own_object(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    answers(upstream, MESSAGES, claude.message(claude.text("Grüezi!")), (b"request-id", b"req_011C"))

    reply = anthropic_client.messages.create(**CALL, metadata={"user_id": "u-7"})

    assert reply.content[0].type == "text"
    assert reply.content[0].text == "Grüezi!"
    assert reply._request_id == "req_011C"
    records.tell(model="claude-sonnet-5", usage=claude.COUNTED, response_id=claude.MESSAGE_ID)
    event = records.the_one()
    assert (event.provider, event.dialect, event.end_user) == ("anthropic", "anthropic", "u-7")


def test_the_upstream_sees_the_clients_call_with_the_projects_key(
    proxy: Proxy, anthropic_client: Anthropic, upstream: Upstream
) -> None:
    answers(upstream, MESSAGES, claude.message(claude.text("Hi")))

    anthropic_client.messages.create(**CALL, extra_headers={"anthropic-beta": "context-1m-2025-08-07"})

    received = upstream.received[-1]
    assert received.target == MESSAGES
    assert received.all("x-api-key") == [API_KEY.encode()]
    assert received.all("anthropic-version") == [str(anthropic_client.default_headers["anthropic-version"]).encode()]
    assert received.all("anthropic-beta") == [b"context-1m-2025-08-07"]
    assert proxy.token.encode() not in repr(received).encode()


def test_a_client_with_a_bearer_token_is_served_too(proxy: Proxy, upstream: Upstream) -> None:
    answers(upstream, MESSAGES, claude.message(claude.text("Hi")))

    with Anthropic(base_url=f"{proxy.url}/anthropic", auth_token=proxy.token) as client:
        client.messages.create(**CALL)

    assert upstream.received[-1].all("x-api-key") == [API_KEY.encode()]
    assert upstream.received[-1].all("authorization") == []


@pytest.mark.parametrize("cut_every", [0, 1, 9])
def test_a_streamed_message_comes_event_by_event(
    anthropic_client: Anthropic, upstream: Upstream, records: Records, cut_every: int
) -> None:
    streams(upstream, MESSAGES, named_events(*claude.text_events("Grü", "ezi")), cut_every=cut_every)

    with anthropic_client.messages.create(**CALL, stream=True) as stream:
        events = list(stream)

    assert [e.type for e in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    records.tell(model="claude-sonnet-5", usage=claude.COUNTED, response_id=claude.MESSAGE_ID, streamed=True)


def test_the_streaming_helper_gives_text_and_the_final_message(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    streams(upstream, MESSAGES, named_events(*claude.text_events("Grü", "ezi")))

    with anthropic_client.messages.stream(**CALL) as stream:
        words = list(stream.text_stream)
        final = stream.get_final_message()

    assert words == ["Grü", "ezi"]
    assert (final.id, final.usage.output_tokens) == (claude.MESSAGE_ID, 15)
    records.tell(model="claude-sonnet-5", usage=claude.COUNTED, response_id=claude.MESSAGE_ID, streamed=True)


def test_thinking_is_counted_apart_from_what_was_said(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    usage = {"input_tokens": 25, "output_tokens": 15, "output_tokens_details": {"thinking_tokens": 6}}
    answers(upstream, MESSAGES, claude.message(claude.text("Hi"), usage=usage))

    reply = anthropic_client.messages.create(**CALL)

    assert reply.usage.output_tokens_details is not None
    assert reply.usage.output_tokens_details.thinking_tokens == 6
    expected = Usage(input=25, output=9, reasoning=6)
    records.tell(model="claude-sonnet-5", usage=expected, response_id=claude.MESSAGE_ID)


def test_tool_use_passes_whole_and_streamed(anthropic_client: Anthropic, upstream: Upstream) -> None:
    answers(upstream, MESSAGES, claude.message(claude.TOOL_USE, stop_reason="tool_use"))
    whole = anthropic_client.messages.create(**CALL, tools=[WEATHER])
    streams(upstream, MESSAGES, named_events(*claude.tool_events('{"city"', ': "Zürich"}')))
    with anthropic_client.messages.stream(**CALL, tools=[WEATHER]) as stream:
        streamed = stream.get_final_message()

    assert whole.content[0].type == streamed.content[0].type == "tool_use"
    assert whole.content[0].input == streamed.content[0].input == {"city": "Zürich"}
    assert sent_json(upstream)["tools"] == [WEATHER]


def test_a_tools_result_and_an_image_pass(anthropic_client: Anthropic, upstream: Upstream) -> None:
    answers(upstream, MESSAGES, claude.message(claude.text("12 Grad")))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 2_000_000}}
    result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": "12"}
    talk: Any = [
        *ASKED,
        {"role": "assistant", "content": [claude.TOOL_USE]},
        {"role": "user", "content": [result, image]},
    ]

    anthropic_client.messages.create(**{**CALL, "messages": talk})

    assert sent_json(upstream)["messages"] == talk


def test_counting_model_tokens_is_recorded_as_a_call_without_output(
    anthropic_client: Anthropic, upstream: Upstream, records: Records
) -> None:
    answers(upstream, f"{MESSAGES}/count_tokens", {"input_tokens": 2095})

    counted = anthropic_client.messages.count_tokens(model="claude-sonnet-5", messages=ASKED)

    assert counted.input_tokens == 2095
    event = records.the_one()
    assert (event.model, event.path) == ("claude-sonnet-5", "/anthropic/v1/messages/count_tokens")
    assert event.usage is None, "nothing was used: the provider only counted"


def test_models_are_listed_and_shown(anthropic_client: Anthropic, upstream: Upstream, records: Records) -> None:
    model = {"id": claude.MODEL, "type": "model", "display_name": "Sonnet", "created_at": "2025-09-29T00:00:00Z"}
    page = {"data": [model], "has_more": False, "first_id": claude.MODEL, "last_id": claude.MODEL}
    answers(upstream, "/v1/models", page)
    answers(upstream, f"/v1/models/{claude.MODEL}", model)

    listed = [m.id for m in anthropic_client.models.list(limit=20)]
    shown = anthropic_client.models.retrieve(claude.MODEL)

    assert (listed, shown.display_name) == ([claude.MODEL], "Sonnet")
    assert upstream.received[0].target == "/v1/models?limit=20"
    assert [e.status for e in records.fresh()] == [200, 200]


def test_a_batch_of_messages_is_made(anthropic_client: Anthropic, upstream: Upstream) -> None:
    counts = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    batch = {
        "id": "msgbatch_01",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counts,
        "created_at": "2025-09-29T00:00:00Z",
        "expires_at": "2025-09-30T00:00:00Z",
    }
    answers(upstream, f"{MESSAGES}/batches", batch)

    made = anthropic_client.messages.batches.create(requests=[{"custom_id": "one", "params": CALL}])  # type: ignore[typeddict-item]

    assert made.id == "msgbatch_01"


async def test_the_async_client_is_served_whole_and_streamed(proxy: Proxy, upstream: Upstream) -> None:
    async with AsyncAnthropic(base_url=f"{proxy.url}/anthropic", api_key=proxy.token) as client:
        answers(upstream, MESSAGES, claude.message(claude.text("Grüezi!")))
        whole = await client.messages.create(**CALL)
        streams(upstream, MESSAGES, named_events(*claude.text_events("Grü", "ezi")))
        async with client.messages.stream(**CALL) as stream:
            words = [word async for word in stream.text_stream]

    assert (whole.id, words) == (claude.MESSAGE_ID, ["Grü", "ezi"])


def test_the_raw_response_shows_the_upstreams_headers_and_ours(
    proxy: Proxy, anthropic_client: Anthropic, upstream: Upstream
) -> None:
    limit = (b"anthropic-ratelimit-requests-remaining", b"49")
    answers(upstream, MESSAGES, claude.message(claude.text("Hi")), (b"request-id", b"req_011C"), limit)

    raw = anthropic_client.messages.with_raw_response.create(**CALL)

    assert (raw.headers["request-id"], raw.headers["anthropic-ratelimit-requests-remaining"]) == ("req_011C", "49")
    assert proxy.event(raw.headers["x-llm-proxy-event-id"]).response_id == claude.MESSAGE_ID
