"""What providers bill for the examples of their own documents, reckoned by hand from their price pages, to 0.1 %."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pricing.prices import Prices
from bus.transcript.reply import ReplyFacts, ReplyReader
from config.providers import SHIPPED_FILE, load_providers

FIXTURES = Path(__file__).parents[2] / "bus" / "transcript" / "fixtures"
NOW = 1_795_305_600_000
"""2026-11-22, noon in UTC."""
PRICES = Prices(tuple(load_providers(SHIPPED_FILE).by_name.values()))
CHAT, RESPONSES, IMAGES = "/v1/chat/completions", "/v1/responses", "/v1/images/generations"
HEARD, MESSAGES, FLASH = "/v1/audio/transcriptions", "/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"

GPT_41 = 86 * 2.00 + 1920 * 0.50 + 300 * 8.00
GPT_5 = 200 * 1.25 + 128 * 0.125 + 52 * 10.00
SONNET_45 = 2095 * 3.00 + 1800 * 0.30 + 148 * 3.75 + 100 * 6.00 + 503 * 15.00
GEMINI_25_FLASH = 110 * 0.30 + 1000 * 0.03 + 90 * 1.00 + (40 + 60) * 2.50
FROM_FIXTURES = [
    ("openai_chat.json", "openai", "openai", CHAT, "gpt-4.1", GPT_41),
    ("openai_chat.sse", "openai", "openai", CHAT, "gpt-4.1", GPT_41),
    ("azure_chat.sse", "azure", "openai", "/openai/deployments/mine/chat/completions", "mine", GPT_41),
    ("openrouter_chat.sse", "openrouter", "openai", CHAT, "openai/gpt-4.1", 140),
    ("openai_responses.json", "openai", "openai", RESPONSES, "gpt-5", GPT_5),
    ("openai_responses.sse", "openai", "openai", RESPONSES, "gpt-5", GPT_5),
    ("openai_transcription.json", "openai", "openai", HEARD, "gpt-4o-transcribe", 4 * 2.5 + 10 * 6.0 + 87 * 10),
    ("openai_images.json", "openai", "openai", IMAGES, "gpt-image-1", 10 * 5 + 40 * 10 + 50 * 40),
    ("openai_images.sse", "openai", "openai", IMAGES, "gpt-image-1.5", 10 * 5 + 40 * 8 + 50 * 32),
    ("anthropic_messages.json", "anthropic", "anthropic", MESSAGES, "claude-sonnet-4-5", SONNET_45),
    ("anthropic_messages.sse", "anthropic", "anthropic", MESSAGES, "claude-sonnet-4-5", SONNET_45),
    ("gemini_generate.json", "gemini", "gemini", FLASH, "gemini-2.5-flash", GEMINI_25_FLASH),
    ("gemini_generate.sse", "gemini", "gemini", FLASH.replace("generate", "streamGenerate"), "", GEMINI_25_FLASH),
]
SEARCHED = {  # docs.anthropic.com, web search tool
    "input_tokens": 105,
    "output_tokens": 6039,
    "cache_read_input_tokens": 7123,
    "cache_creation_input_tokens": 7345,
    "server_tool_use": {"web_search_requests": 1},
}
LONG = {
    "promptTokenCount": 250_000,
    "candidatesTokenCount": 1000,
    "thoughtsTokenCount": 500,
    "totalTokenCount": 251_500,
}
DRAWN = {"promptTokenCount": 20, "candidatesTokenCount": 1290, "totalTokenCount": 1310}
PICTURE = [{"modality": "IMAGE", "tokenCount": 1290}]
SPOKEN = {
    "prompt_tokens": 130,
    "completion_tokens": 250,
    "total_tokens": 380,
    "prompt_tokens_details": {"text_tokens": 30, "audio_tokens": 100, "cached_tokens": 0},
    "completion_tokens_details": {"text_tokens": 50, "audio_tokens": 200, "reasoning_tokens": 0},
}
TOLD = [
    (MESSAGES, "claude-sonnet-4-5", SEARCHED, 105 * 3 + 6039 * 15 + 7123 * 0.3 + 7345 * 3.75 + 10_000),
    (MESSAGES, "claude-opus-4-5", {"input_tokens": 1000, "output_tokens": 100}, 1000 * 5 + 100 * 25),
    ("gemini", "gemini-2.5-pro", LONG, 250_000 * 2.5 + 1500 * 15),
    ("gemini", "gemini-2.5-flash-image", {**DRAWN, "candidatesTokensDetails": PICTURE}, 20 * 0.3 + 1290 * 30),
    (CHAT, "gpt-audio", SPOKEN, 30 * 2.5 + 100 * 32 + 50 * 10 + 200 * 64),
    (
        CHAT,
        "gpt-4o-mini",
        {"prompt_tokens": 1117, "completion_tokens": 46, "total_tokens": 1163},
        1117 * 0.15 + 46 * 0.6,
    ),
    (HEARD, "whisper-1", {"type": "duration", "seconds": 90}, 90 / 60 * 6000),
    ("/v1/embeddings", "text-embedding-3-large", {"prompt_tokens": 8000, "total_tokens": 8000}, 8000 * 0.13),
]


def read(body: bytes, dialect: str, path: str, kind: str) -> ReplyFacts:
    reader = ReplyReader(dialect, path, kind, "")
    reader.feed(body)
    return reader.close()


def cost(told: ReplyFacts, provider: str, dialect: str, model: str) -> int | None:
    assert told.usage is not None
    return PRICES.cost_microusd(provider, dialect, told.model or model, told.usage, NOW)


@pytest.mark.parametrize(("name", "provider", "dialect", "path", "model", "microusd"), FROM_FIXTURES)
def test_a_reply_costs_what_its_provider_bills(
    name: str, provider: str, dialect: str, path: str, model: str, microusd: float
) -> None:
    kind = "text/event-stream" if name.endswith(".sse") else "application/json"
    told = read((FIXTURES / name).read_bytes(), dialect, path, kind)

    assert cost(told, provider, dialect, model) == pytest.approx(microusd, rel=0.001)


@pytest.mark.parametrize(("where", "model", "usage", "microusd"), TOLD)
def test_a_usage_costs_what_its_provider_bills(where: str, model: str, usage: Any, microusd: float) -> None:
    dialect = "gemini" if where == "gemini" else "anthropic" if where == MESSAGES else "openai"
    path = f"/v1beta/models/{model}:generateContent" if where == "gemini" else where
    named = {"modelVersion": model, "usageMetadata": usage} if where == "gemini" else {"model": model, "usage": usage}

    told = read(json.dumps(named).encode(), dialect, path, "application/json")

    assert cost(told, dialect, dialect, model) == pytest.approx(microusd, rel=0.001)


counts = st.integers(0, 300_000)


def as_events(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@given(prompt=counts, cached=counts, output=counts, reasoning=counts, tier=st.sampled_from(["default", "flex", None]))
def test_a_stream_of_openai_costs_what_the_same_reply_whole_costs(
    prompt: int, cached: int, output: int, reasoning: int, tier: str | None
) -> None:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    named = {"id": "c", "model": "gpt-5", "service_tier": tier}
    said = {**named, "choices": [{"delta": {"content": "hi"}}], "usage": None}

    whole = read(json.dumps({**named, "usage": usage}).encode(), "openai", CHAT, "application/json")
    stream = read(as_events(said, said, {**named, "choices": [], "usage": usage}), "openai", CHAT, "text/event-stream")

    assert cost(stream, "openai", "openai", "gpt-5") == cost(whole, "openai", "openai", "gpt-5") is not None


@given(fresh=counts, read_tokens=counts, hour=counts, minutes=counts, output=st.integers(1, 300_000))
def test_a_stream_of_anthropic_costs_what_the_same_reply_whole_costs(
    fresh: int, read_tokens: int, hour: int, minutes: int, output: int
) -> None:
    began = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read_tokens,
        "cache_creation_input_tokens": hour + minutes,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": 1,
    }
    message = {"id": "m", "model": "claude-sonnet-4-5", "usage": began}
    start = {"type": "message_start", "message": message}
    end = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": output}}

    body = json.dumps({**message, "usage": {**began, "output_tokens": output}}).encode()
    whole = read(body, "anthropic", MESSAGES, "application/json")
    stream = read(as_events(start, end, {"type": "message_stop"}), "anthropic", MESSAGES, "text/event-stream")

    assert cost(stream, "anthropic", "anthropic", "") == cost(whole, "anthropic", "anthropic", "") is not None
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == fresh + read_tokens + hour + minutes


@given(text=counts, image=counts, video=counts, audio=counts, share=st.floats(0, 1), said=counts, drawn=counts)
def test_classes_of_gemini_add_up_to_its_total(
    text: int, image: int, video: int, audio: int, share: float, said: int, drawn: int
) -> None:
    def details(factor: float, **by: int) -> list[dict[str, Any]]:
        return [{"modality": name, "tokenCount": int(number * factor)} for name, number in by.items()]

    kinds = {"TEXT": text, "IMAGE": image, "VIDEO": video, "AUDIO": audio}
    cached = details(share, **kinds)
    usage = {
        "promptTokenCount": sum(kinds.values()),
        "promptTokensDetails": details(1, **kinds),
        "cachedContentTokenCount": sum(row["tokenCount"] for row in cached),
        "cacheTokensDetails": cached,
        "candidatesTokenCount": said + drawn,
        "candidatesTokensDetails": details(1, TEXT=said, IMAGE=drawn),
        "thoughtsTokenCount": 7,
    }

    told = read(json.dumps({"usageMetadata": usage}).encode(), "gemini", FLASH, "application/json").usage

    assert told is not None
    assert (told.prompt_tokens, told.completion_tokens) == (sum(kinds.values()), said + drawn + 7)
    assert told.audio_input + told.audio_cache_read == audio
    assert told.image_output == drawn
