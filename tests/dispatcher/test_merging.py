"""Streams put together are what the provider would have sent at once, and nothing odd in them can hurt."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Body
from bus.transcript.paths import Shape
from dispatcher.merging import merged, merged_gemini
from dispatcher.messages import answered, asked, finish_reasons, plain_text, system_of
from dispatcher.said import Said, said_in
from tests.dispatcher.scripted import make_event
from tests.support.upstream import sse

FIXTURES = Path(__file__).parents[1] / "bus" / "transcript" / "fixtures"
SHAPES: list[Shape] = ["openai", "anthropic", "gemini"]


def chunk(delta: dict[str, Any], **more: Any) -> str:
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **more}]})


@pytest.mark.parametrize(
    ("name", "shape", "text", "reason"),
    [
        ("openai_chat.sse", "openai", 'Count "usage": {"prompt_tokens": 1} and say [DONE].', "stop"),
        ("azure_chat.sse", "openai", "Hi", "stop"),
        ("openrouter_chat.sse", "openai", "Hi", "stop"),
        ("openai_completions.sse", "openai", "\n\nThis is indeed a test", "length"),
        ("openai_responses.sse", "openai", 'The word "usage": {"input_tokens": 9} is in here.', "completed"),
        ("openai_responses_failed.sse", "openai", 'The word "usage": {"input_tokens": 9}', "failed"),
        ("anthropic_messages.sse", "anthropic", 'Hi! My name is Claude; "usage": {"input_tokens": 3}', "end_turn"),
        ("gemini_generate.sse", "gemini", 'AI learns from "usageMetadata": {"promptTokenCount": 2} examples.', "stop"),
    ],
)
def test_a_providers_stream_becomes_one_reply(name: str, shape: Shape, text: str, reason: str) -> None:
    reply = merged(shape, (FIXTURES / name).read_bytes())

    assert reply
    said = Said(shape, {}, reply)
    assert plain_text(answered(said)) == text
    assert finish_reasons(said) == [reason]
    assert reply.get("usage") or reply.get("usageMetadata") or reply["status"] == "failed"


def test_geminis_array_of_chunks_is_one_reply_too() -> None:
    chunks = json.loads((FIXTURES / "gemini_generate_array.json").read_bytes())

    reply = merged_gemini(chunks)

    assert reply
    assert plain_text(answered(Said("gemini", {}, reply))).endswith("examples.")


def test_pieces_of_tool_calls_are_put_together() -> None:
    first = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]
    pieces = ['{"city"', ': "Ulm"}']
    stream = sse(
        chunk({"role": "assistant", "content": None, "tool_calls": first}),
        *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces),
        chunk({}, finish_reason="tool_calls"),
        "[DONE]",
    )

    (message,) = answered(Said("openai", {}, merged("openai", stream) or {}))

    call = {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Ulm"}}
    assert message == {"role": "assistant", "parts": [call], "finish_reason": "tool_calls"}


def test_anthropics_tools_and_thoughts_are_put_together() -> None:
    stream = sse(
        '{"type":"message_start","message":{"id":"m","role":"assistant","content":[],"usage":{"input_tokens":3}}}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}',
        '{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"sum","input":{}}}',
        '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":"}}',
        '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1}"}}',
        '{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}',
    )

    reply = merged("anthropic", stream) or {}

    assert reply["usage"] == {"input_tokens": 3, "output_tokens": 9}
    (message,) = answered(Said("anthropic", {}, reply))
    assert message["parts"] == [
        {"type": "reasoning", "content": "Hm."},
        {"type": "tool_call", "id": "t", "name": "sum", "arguments": {"a": 1}},
    ]
    assert message["finish_reason"] == "tool_use"


def test_a_stream_that_was_cut_tells_what_came() -> None:
    whole = (FIXTURES / "openai_responses.sse").read_bytes()
    cut = whole[: whole.index(b"event: response.completed")]

    text = plain_text(answered(Said("openai", {}, merged("openai", cut) or {})))

    assert text
    assert 'The word "usage": {"input_tokens": 9} is in here.'.startswith(text)


def test_a_call_is_read_in_every_dialect() -> None:
    said = Said("openai", {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [
        {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:..."}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"}]}, {})  # fmt: skip
    assert asked(said) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {"role": "user", "parts": [{"type": "text", "content": "What is this?"}, {"type": "image_url"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
    ]
    said = Said("openai", {"instructions": "Be kind.", "input": "Hello"}, {})
    assert (plain_text(asked(said)), system_of(said)) == ("Hello", [{"type": "text", "content": "Be kind."}])
    said = Said("anthropic", {"system": [{"type": "text", "text": "Be kind."}], "messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "7"}]}]}, {})  # fmt: skip
    assert asked(said)[0]["parts"] == [{"type": "tool_call_response", "id": "t", "response": "7"}]
    assert system_of(said) == [{"type": "text", "content": "Be kind."}]
    contents = [{"role": "user", "parts": [{"text": "Hello"}, {"inlineData": {"mimeType": "image/png"}}]}]
    said = Said("gemini", {"systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": contents}, {})
    assert asked(said)[0]["parts"] == [{"type": "text", "content": "Hello"}, {"type": "inlineData"}]
    assert system_of(said) == [{"type": "text", "content": "Be kind."}]
    assert plain_text(asked(Said("openai", {"input": ["one", "two"]}, {}))) == "one\ntwo"


def test_bodies_are_read_through_their_encodings() -> None:
    stream = Body(gzip.compress((FIXTURES / "openai_chat.sse").read_bytes()), "text/event-stream", "gzip")
    event = make_event(response_body=stream, request_body=Body(b'{"model":"m"', "application/json", truncated=True))

    said = said_in(event)

    assert said.call == {}
    assert said.reply["id"] == "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"
    assert said_in(make_event(request_body=None, response_body=None)) == Said("openai", {}, {})


WORDS = """type index choices delta message content parts text role tool_calls function name arguments input output
response candidates finishReason finish_reason content_block usage input_json error messages contents system status
summary functionCall thought refusal"""
NAMES = st.sampled_from(WORDS.split())
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "message_start", "tool_use"])
ODD = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6))
TYPES = st.sampled_from(
    [
        *("response.completed", "response.output_text.delta", "message_start", "content_block_start", "message"),
        *("content_block_delta", "message_delta", "error", "function_call", "reasoning", "tool_use", "thinking", None),
    ]
)


@pytest.mark.slow
@given(st.sampled_from(SHAPES), st.lists(st.tuples(TYPES, st.dictionaries(NAMES, ODD, max_size=6)), max_size=8))
def test_nothing_that_a_provider_or_client_sends_can_crash_the_reading(
    shape: Shape, told: list[tuple[str | None, dict[str, Any]]]
) -> None:
    objects = [{**fields, "type": kind} if kind else fields for kind, fields in told]
    reply = merged(shape, sse(*(json.dumps(one) for one in objects))) or {}

    for call in [{}, *objects]:
        for said in (Said(shape, call, reply), Said(shape, call, call)):
            json.dumps([asked(said), answered(said), system_of(said), finish_reasons(said)])
            plain_text(asked(said) + answered(said))
