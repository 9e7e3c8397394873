"""Usage of streams that tell none, or only its beginning."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.estimates.estimates import KEPT_BYTES, Counted, Estimates, Heard, is_enough, told_by_provider
from app.estimates.said import answered, asked
from app.estimates.tokenizer import Tokenizer
from bus.event import Usage
from bus.transcript.reply import ReplyFacts, ReplyReader

FIXTURES = Path(__file__).parents[2] / "bus" / "transcript" / "fixtures"
CALL = json.dumps({"model": "m", "messages": [{"role": "user", "content": "How many words are in this?"}]}).encode()
ESTIMATES = Estimates()


def chat(*pieces: str, end: str = "") -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + end.encode()


def heard(stream: bytes, told: ReplyFacts | None = None, **more: Any) -> Heard:
    known = Heard(told or ReplyFacts(is_complete=True), stream[:KEPT_BYTES], len(stream), "", CALL, len(CALL), False)
    return known._replace(**more)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("tiktoken is great!", 6), ("お誕生日おめでとう", 8), ("2 + 2 = 4", 7)],
)
def test_tokens_are_those_of_o200k(text: str, tokens: int) -> None:
    assert ESTIMATES._tokenizer.count(text) == tokens


def test_the_vocabulary_is_loaded_when_it_is_first_needed() -> None:
    tokenizer = Tokenizer()

    assert not tokenizer.is_loaded


def test_a_stream_that_told_no_usage_is_counted_with_its_prompt() -> None:
    counted = ESTIMATES.count(heard(chat("The answer", " is", " forty-two", ".", end="data: [DONE]\n\n")))

    assert counted.source == "estimate"
    assert counted.usage == Usage(input=1 + 7 + 6, output=6)


def test_what_was_told_before_the_cut_counts_first() -> None:
    body = (FIXTURES / "anthropic_messages.sse").read_bytes().partition(b"event: message_delta")[0]
    reader = ReplyReader("anthropic", "/v1/messages", "text/event-stream", "")
    reader.feed(body)
    told = reader.close()
    assert told.usage is not None

    counted = ESTIMATES.count(heard(body, told))

    assert counted.usage is not None
    assert counted.source == "estimate"
    assert structs.replace(counted.usage, output=1, reasoning=0) == told.usage
    assert counted.usage.completion_tokens > 1


@pytest.mark.parametrize(
    ("stream", "visible", "reasoning"),
    [
        ({"choices": [{"delta": {"content": "a", "reasoning_content": "b"}}]}, "a", "b"),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}, "f{}", ""),
        ({"choices": [{"text": "legacy"}]}, "legacy", ""),
        ({"type": "response.output_text.delta", "delta": "said"}, "said", ""),
        ({"type": "response.reasoning_summary_text.delta", "delta": "thought"}, "", "thought"),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "said"}}, "said", ""),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}}, "", "hm"),
        ({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}}, "{}", ""),
        ({"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b", "thought": True}]}}]}, "a", "b"),
        ({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"x": "y"}}}]}}]}, "fy", ""),
    ],
)
def test_the_text_of_every_dialect_is_found(stream: dict[str, Any], visible: str, reasoning: str) -> None:
    assert answered(f"data: {json.dumps(stream)}\n\n".encode(), "") == (visible, reasoning)


def test_what_is_longer_than_is_kept_is_taken_to_go_on_as_it_began() -> None:
    once = chat(*["word "] * 200)

    short, long = ESTIMATES.count(heard(once)), ESTIMATES.count(heard(once * 20))

    assert short.usage is not None
    assert long.usage is not None
    assert long.usage.output == pytest.approx(20 * short.usage.output, rel=0.02)


def test_a_stream_that_said_nothing_is_not_counted_unless_its_client_left() -> None:
    failed = b'data: {"error":{"message":"overloaded"}}\n\n'

    assert ESTIMATES.count(heard(failed)) == Counted(None, "")
    assert ESTIMATES.count(heard(b"", ReplyFacts())) == Counted(None, "")
    assert ESTIMATES.count(heard(b"", ReplyFacts(), is_abandoned=True)) == Counted(Usage(input=14), "estimate")


def test_a_call_that_was_not_seen_whole_is_counted_by_its_size() -> None:
    counted = ESTIMATES.count(heard(chat("hi"), call=CALL[:20], call_size=4_000_000))

    assert counted.usage == Usage(input=1_000_000, output=1)


def test_images_in_a_call_are_no_text() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    call = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]}]}

    text, between = asked(json.dumps(call).encode())

    assert len(text) < 60
    assert between == 6


@pytest.mark.parametrize(
    ("told", "path", "enough"),
    [
        (ReplyFacts(Usage(input=1, output=9), is_complete=True), "/v1/chat/completions", True),
        (ReplyFacts(Usage(input=1, output=9)), "/v1/messages", True),
        (ReplyFacts(Usage(input=1, output=1)), "/v1/messages", False),
        (ReplyFacts(is_complete=True), "/v1/chat/completions", False),
        (ReplyFacts(is_complete=True), "/v1/audio/speech", True),
    ],
)
def test_only_what_is_missing_is_counted(told: ReplyFacts, path: str, enough: bool) -> None:
    assert is_enough(told, path) is enough


@settings(max_examples=50)
@given(stream=st.binary(max_size=400), call=st.binary(max_size=100), encoding=st.sampled_from(["", "gzip", "odd"]))
def test_no_bytes_make_it_fail(stream: bytes, call: bytes, encoding: str) -> None:
    for body in (stream, b"data: " + stream + b"\n\n"):
        counted = ESTIMATES.count(heard(body, call=call, content_encoding=encoding))

        assert counted.source in ("", "estimate")


async def test_where_counting_fails_the_record_has_what_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Heard) -> Counted:
        raise OSError("no such file")

    estimates = Estimates()
    monkeypatch.setattr(estimates, "count", fails)
    told = ReplyFacts(Usage(input=5, output=1))

    assert await estimates.begin(heard(b"", told)) == told_by_provider(told)
