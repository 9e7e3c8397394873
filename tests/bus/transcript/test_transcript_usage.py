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
        parts = [getattr(usage, name) for name in usage.__struct_fields__]
        assert all(isinstance(part, int) and 0 <= part <= MAX_COUNT for part in parts)


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

    assert from_anthropic(counts) == Usage(input=1, cache_write=34, output=2)


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

    assert from_gemini(counts) == Usage(input=20, cache_read=60, audio_input=20, audio_output=5)


@pytest.mark.parametrize("counts", [{}, {"type": "duration", "seconds": 9}, {"prompt_tokens": None}, {"cost": 0.1}])
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
