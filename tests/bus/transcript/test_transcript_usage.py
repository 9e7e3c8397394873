"""Usage in disjoint classes: the parts sum up to what the provider counted, whatever it sends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Usage
from bus.transcript.usage import MAX_COUNT, count, from_anthropic, from_gemini, from_openai

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)
NAMES = st.sampled_from(
    (
        *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "audio_tokens"),
        *("prompt_tokens_details", "completion_tokens_details", "cached_tokens", "reasoning_tokens"),
        *("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"),
        *("server_tool_use", "web_search_requests", "ephemeral_1h_input_tokens", "image_tokens", "cost", "is_byok"),
        *("cost_details", "upstream_inference_cost", "seconds", "type", "candidatesTokensDetails", "service_tier"),
        *("promptTokensDetails", "cacheTokensDetails", "modality", "tokenCount", "toolUsePromptTokenCount"),
    )
)
OBJECTS = st.dictionaries(NAMES, st.recursive(ODD, lambda i: st.dictionaries(NAMES, i) | st.lists(i), max_leaves=8))


@pytest.mark.slow
@pytest.mark.parametrize("normalise", [from_openai, from_anthropic, from_gemini])
@given(counts=OBJECTS)
def test_odd_counts_are_clamped_and_never_an_error(normalise: Any, counts: dict[str, Any]) -> None:
    usage = normalise(counts)

    if usage is not None:
        parts = [getattr(usage, name) for name in usage.__struct_fields__ if name != "service_tier"]
        assert all(part is None or (isinstance(part, int) and 0 <= part <= MAX_COUNT) for part in parts)


@given(
    prompt=st.integers(0, 10**6),
    completion=st.integers(0, 10**6),
    cached=st.integers(-5, 10**6),
    heard=st.integers(-5, 10**6),
    thought=st.integers(-5, 10**6),
    spoken=st.integers(-5, 10**6),
)
def test_parts_of_openai_sum_up_to_their_whole(
    prompt: int, completion: int, cached: int, heard: int, thought: int, spoken: int
) -> None:
    usage = from_openai(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": heard},
            "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": spoken},
        }
    )

    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt, completion)


def test_reasoning_that_is_counted_beside_the_completion_is_not_taken_from_it() -> None:
    counts = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }

    assert from_openai(counts) == Usage(input=10, output=5, reasoning=100)


def test_cache_hits_in_the_older_form_are_read() -> None:
    assert from_openai({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}) == Usage(
        input=2, cache_read=8, output=1
    )


def test_anthropic_cache_writes_by_lifetime_are_added_where_there_is_no_sum() -> None:
    counts = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 4},
    }

    assert from_anthropic(counts) == Usage(input=1, cache_write=30, cache_write_1h=4, output=2)


def test_anthropic_cache_writes_of_an_hour_are_a_part_of_the_sum() -> None:
    counts = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    }

    assert from_anthropic(counts) == Usage(input=1, cache_write=60, cache_write_1h=40)


def test_searches_and_prices_of_anthropic_are_told() -> None:
    counts = {"input_tokens": 1, "server_tool_use": {"web_search_requests": 3}, "service_tier": "priority"}

    assert from_anthropic(counts) == Usage(input=1, web_searches=3)
    assert from_anthropic({"input_tokens": 1, "service_tier": "batch"}) == Usage(input=1, service_tier="batch")
    assert from_anthropic({"input_tokens": 1, "speed": "fast"}) == Usage(input=1, service_tier="fast")


def test_gemini_tool_prompts_are_input_and_thoughts_are_reasoning() -> None:
    counts = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 40,
    }

    assert from_gemini(counts) == Usage(input=17, output=3, reasoning=20)


def test_gemini_audio_that_was_cached_is_counted_once() -> None:
    counts = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 80}, {"modality": "TEXT", "tokenCount": 20}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}],
        "candidatesTokenCount": 5,
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }

    assert from_gemini(counts) == Usage(input=20, audio_cache_read=60, audio_input=20, audio_output=5)


def test_gemini_tells_images_documents_and_video_apart() -> None:
    counts = {
        "promptTokenCount": 100,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 10},
            {"modality": "IMAGE", "tokenCount": 20},
            {"modality": "DOCUMENT", "tokenCount": 30},
            {"modality": "VIDEO", "tokenCount": 40},
        ],
        "candidatesTokenCount": 9,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 7}, {"modality": "TEXT", "tokenCount": 2}],
    }

    assert from_gemini(counts) == Usage(input=10, image_input=50, video_input=40, output=2, image_output=7)


def test_images_of_openai_are_told_from_text() -> None:
    ins = {"text_tokens": 10, "image_tokens": 40}
    counts = {"input_tokens": 50, "output_tokens": 30, "total_tokens": 80, "input_tokens_details": ins}
    told = counts | {"output_tokens_details": {"image_tokens": 25, "text_tokens": 5}}

    assert from_openai(counts) == Usage(input=10, image_input=40, image_output=30)
    assert from_openai(told) == Usage(input=10, image_input=40, image_output=25, output=5)


def test_what_is_billed_by_its_seconds_is_a_duration() -> None:
    assert from_openai({"type": "duration", "seconds": 9.5}) == Usage(audio_ms=9500)


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"cost": 0.95}, 950_000),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 950_000),
        ({"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": 19}}, 19_950_000),
        ({"cost": 0}, 0),
        ({"cost": None}, None),
        ({"cost": {"total_cost": 1}}, None),
        ({"cost": -1}, None),
    ],
)
def test_the_cost_that_openrouter_tells_is_kept(told: dict[str, Any], cost: int | None) -> None:
    assert from_openai({"prompt_tokens": 1, **told}) == Usage(input=1, told_cost_microusd=cost)


@pytest.mark.parametrize(
    ("told", "tier"), [("flex", "flex"), ("priority", "priority"), ("default", ""), ("scale", ""), (None, ""), (7, "")]
)
def test_the_service_tier_is_kept_where_it_has_prices_of_its_own(told: object, tier: Any) -> None:
    assert from_openai({"prompt_tokens": 1}, told) == Usage(input=1, service_tier=tier)


@pytest.mark.parametrize("counts", [{}, {"type": "duration", "seconds": None}, {"prompt_tokens": None}, {"cost": 0.1}])
def test_an_object_without_counts_is_no_usage(counts: dict[str, Any]) -> None:
    assert from_openai(counts) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        (7.9, 7),
        (-7, 0),
        (True, 0),
        ("7", 0),
        (None, 0),
        (10**30, MAX_COUNT),
        (1e300, MAX_COUNT),
        (float("nan"), 0),
    ],
)
def test_only_numbers_count(value: object, expected: int) -> None:
    assert count(value) == expected
