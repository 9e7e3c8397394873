"""What each dialect tells, on bodies written after the providers' public documents; streamed and not, one usage."""

from pathlib import Path

import pytest
from msgspec import structs

from bus.event import Usage
from bus.transcript.reply import ReplyFacts, ReplyReader

FIXTURES = Path(__file__).with_name("fixtures")
CHATTED = Usage(input=86, cache_read=1920, output=108, reasoning=192)
CHAT = ReplyFacts(
    CHATTED,
    "gpt-4.1-2025-04-14",
    "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    True,
)
ROUTED = structs.replace(CHAT, usage=structs.replace(CHATTED, told_cost_microusd=140))
LEGACY = ReplyFacts(Usage(input=5, output=7), "gpt-3.5-turbo-instruct", "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7", True)
RESPONSE_ID = "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41"
RESPONSES = ReplyFacts(Usage(input=200, cache_read=128, output=32, reasoning=20), "gpt-5-2025-08-07", RESPONSE_ID, True)
HEARD = ReplyFacts(Usage(input=4, audio_input=10, output=87), "", "", True)
DRAWN = ReplyFacts(Usage(input=10, image_input=40, image_output=50), "", "", True)
MESSAGE = ReplyFacts(
    Usage(input=2095, cache_read=1800, cache_write=148, cache_write_1h=100, output=303, reasoning=200),
    "claude-sonnet-4-5-20250929",
    "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    True,
)
GENERATED = ReplyFacts(
    Usage(input=110, cache_read=1000, audio_input=90, output=40, reasoning=60),
    "gemini-2.5-flash",
    "mAitaLmkHPPlz7IPvtfUqQ4",
    True,
)
STREAM = ":streamGenerateContent"
GOLDEN = [
    ("openai_chat.json", "openai", "/v1/chat/completions", CHAT),
    ("openai_chat.sse", "openai", "/v1/chat/completions", CHAT),
    ("openai_chat.sse", "gemini", "/v1beta/openai/chat/completions", CHAT),
    ("azure_chat.sse", "openai", "/openai/deployments/mine/chat/completions", CHAT),
    ("openrouter_chat.sse", "openai", "/v1/chat/completions", ROUTED),
    ("openai_completions.json", "openai", "/v1/completions", LEGACY),
    ("openai_completions.sse", "openai", "/v1/completions", LEGACY),
    ("openai_responses.json", "openai", "/v1/responses", RESPONSES),
    ("openai_responses.sse", "openai", "/v1/responses", RESPONSES),
    ("openai_responses_incomplete.sse", "openai", "/v1/responses", RESPONSES),
    ("openai_responses_failed.sse", "openai", "/v1/responses", ReplyFacts(None, RESPONSES.model, RESPONSE_ID, True)),
    (
        "openai_embeddings.json",
        "openai",
        "/v1/embeddings",
        ReplyFacts(Usage(input=5), "text-embedding-3-small", "", True),
    ),
    ("openai_transcription.json", "openai", "/v1/audio/transcriptions", HEARD),
    ("openai_transcription.sse", "openai", "/v1/audio/transcriptions", HEARD),
    ("openai_images.json", "openai", "/v1/images/generations", DRAWN),
    ("openai_images.sse", "openai", "/v1/images/generations", DRAWN),
    ("anthropic_messages.json", "anthropic", "/v1/messages", MESSAGE),
    ("anthropic_messages.sse", "anthropic", "/v1/messages", MESSAGE),
    ("anthropic_messages.sse", "openai", "/v1/messages", MESSAGE),
    (
        "anthropic_overloaded.sse",
        "anthropic",
        "/v1/messages",
        ReplyFacts(
            Usage(input=2095, cache_read=1800, cache_write=148, cache_write_1h=100, output=1),
            MESSAGE.model,
            MESSAGE.response_id,
            True,
        ),
    ),
    ("gemini_generate.json", "gemini", "/v1beta/models/gemini-2.5-flash:generateContent", GENERATED),
    ("gemini_generate.sse", "gemini", "/v1beta/models/gemini-2.5-flash" + STREAM, GENERATED),
    ("gemini_generate_array.json", "gemini", "/v1beta/models/gemini-2.5-flash" + STREAM, GENERATED),
    (
        "gemini_blocked.sse",
        "gemini",
        "/v1beta/models/gemini-2.5-flash" + STREAM,
        ReplyFacts(Usage(input=8), "gemini-2.5-flash", "", True),
    ),
]


def content_type(name: str) -> str:
    return "text/event-stream; charset=utf-8" if name.endswith(".sse") else "application/json"


def read(body: bytes, dialect: str, path: str, kind: str) -> ReplyFacts:
    reader = ReplyReader(dialect, path, kind, "")
    reader.feed(body)
    return reader.close()


@pytest.mark.parametrize(("name", "dialect", "path", "expected"), GOLDEN)
def test_a_reply_tells_its_usage_model_id_and_end(name: str, dialect: str, path: str, expected: ReplyFacts) -> None:
    body = (FIXTURES / name).read_bytes()

    assert read(body, dialect, path, content_type(name)) == expected


@pytest.mark.parametrize(("name", "dialect", "path", "expected"), GOLDEN)
def test_a_reply_that_was_cut_is_not_complete(name: str, dialect: str, path: str, expected: ReplyFacts) -> None:
    body = (FIXTURES / name).read_bytes()

    cut = read(body.rstrip()[: len(body) * 2 // 3], dialect, path, content_type(name))

    assert not cut.is_complete
    assert cut.model in ("", expected.model)


def test_usage_of_a_stream_that_was_cut_is_what_it_had_told_so_far() -> None:
    body = (FIXTURES / "anthropic_messages.sse").read_bytes().partition(b"event: message_delta")[0]

    cut = read(body, "anthropic", "/v1/messages", "text/event-stream")

    assert cut.usage == Usage(input=2095, cache_read=1800, cache_write=148, cache_write_1h=100, output=1)


def test_a_json_body_that_was_cut_still_names_model_and_id() -> None:
    body = (FIXTURES / "openai_chat.json").read_bytes().partition(b"Count")[0]

    assert read(body, "openai", "/v1/chat/completions", "application/json") == ReplyFacts(
        None, CHAT.model, CHAT.response_id, False
    )


def test_an_event_stream_without_its_last_event_is_not_complete() -> None:
    body = (FIXTURES / "openai_chat.sse").read_bytes().partition(b"data: [DONE]")[0]

    cut = read(body, "openai", "/v1/chat/completions", "text/event-stream")

    assert cut.usage == CHAT.usage
    assert not cut.is_complete


def test_an_error_in_a_chat_stream_is_its_end() -> None:
    body = b'data: {"id":"c1","model":"m","choices":[]}\n\ndata: {"error":{"message":"overloaded","code":503}}\n\n'

    assert read(body, "openai", "/v1/chat/completions", "text/event-stream") == ReplyFacts(None, "m", "c1", True)


@pytest.mark.parametrize("kind", ["audio/mpeg", "", "application/octet-stream", "text/html"])
def test_what_is_no_json_and_no_stream_is_passed_over(kind: str) -> None:
    assert read(b'{"model":"m","usage":{"prompt_tokens":1}}', "openai", "/v1/audio/speech", kind) == ReplyFacts(
        is_complete=True
    )


def test_an_error_body_has_no_usage() -> None:
    body = b'{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}'

    assert read(body, "openai", "/v1/chat/completions", "application/json") == ReplyFacts(is_complete=True)


def test_names_in_a_reply_are_bounded_and_printable() -> None:
    body = b'{"id":"a\\u0000b","model":"' + b"m" * 5000 + b'"}'

    told = read(body, "openai", "/v1/chat/completions", "application/json")

    assert (told.response_id, told.model) == ("ab", "m" * 256)
