"""A provider's usage object into `bus.event.Usage`, whose classes are disjoint.

OpenAI's prompt_tokens include cached and audio ones and its completion_tokens include reasoning; Anthropic's
input_tokens are the uncached rest already; Gemini counts thoughts and tool prompts beside the rest. Providers send
odd things now and then: whatever is no count is 0, and no part is larger than its whole. Nothing here raises.
"""

from collections.abc import Mapping
from typing import Any, Final

from bus.event import Usage

Counts = Mapping[str, Any]
MAX_COUNT: Final = 2**31 - 1  # fits every database's integer; no exchange comes near it


def count(value: object) -> int:
    """A number of model tokens: 0 for what is none, clamped to MAX_COUNT."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0
    return MAX_COUNT if value >= MAX_COUNT else int(value)


def from_openai(counts: Counts) -> Usage | None:
    """Chat and legacy completions, responses, embeddings, audio and images; None when it holds no counts."""
    if not _tells(counts, "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"):
        return None
    prompt = _first(counts, "prompt_tokens", "input_tokens")
    completion = _first(counts, "completion_tokens", "output_tokens")
    ins = _details(counts, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    outs = _details(counts, "completion_tokens_details", "output_tokens_details", "output_token_details")

    cache_read, rest = _take(_first(ins, "cached_tokens") or _first(counts, "prompt_cache_hit_tokens"), prompt)
    cache_write, rest = _take(_first(ins, "cache_write_tokens"), rest)
    audio_input, text_input = _take(_first(ins, "audio_tokens"), rest)
    reasoning = _first(outs, "reasoning_tokens")
    if not _is_beside(reasoning, prompt, completion, _first(counts, "total_tokens")):
        reasoning, completion = _take(reasoning, completion)
    audio_output, text_output = _take(_first(outs, "audio_tokens"), completion)
    return Usage(
        input=text_input,
        cache_read=cache_read,
        cache_write=cache_write,
        output=text_output,
        reasoning=reasoning,
        audio_input=audio_input,
        audio_output=audio_output,
    )


def from_anthropic(counts: Counts) -> Usage | None:
    """Messages; output_tokens include thinking, which Anthropic does not tell apart."""
    if not _tells(counts, "input_tokens", "output_tokens"):
        return None
    by_lifetime = _details(counts, "cache_creation")
    written = _first(counts, "cache_creation_input_tokens") or sum(count(v) for v in by_lifetime.values())
    return Usage(
        input=_first(counts, "input_tokens"),
        cache_read=_first(counts, "cache_read_input_tokens"),
        cache_write=count(written),
        output=_first(counts, "output_tokens"),
    )


def from_gemini(counts: Counts) -> Usage | None:
    """promptTokenCount includes cached content; candidates exclude thoughts; tool prompts are counted apart."""
    if not _tells(counts, "promptTokenCount", "candidatesTokenCount", "totalTokenCount"):
        return None
    prompt = _first(counts, "promptTokenCount")
    cache_read, rest = _take(_first(counts, "cachedContentTokenCount"), prompt)
    heard = _audio(counts, "promptTokensDetails") - _audio(counts, "cacheTokensDetails")
    audio_input, text_input = _take(count(heard), rest)
    audio_output, text_output = _take(_audio(counts, "candidatesTokensDetails"), _first(counts, "candidatesTokenCount"))
    return Usage(
        input=count(text_input + _first(counts, "toolUsePromptTokenCount")),
        cache_read=cache_read,
        output=text_output,
        reasoning=_first(counts, "thoughtsTokenCount"),
        audio_input=audio_input,
        audio_output=audio_output,
    )


def _tells(counts: Counts, *names: str) -> bool:
    return any(isinstance(counts.get(n), int | float) and not isinstance(counts[n], bool) for n in names)


def _first(counts: Counts, *names: str) -> int:
    """The first of `names` that has a count."""
    return next((found for name in names if (found := count(counts.get(name)))), 0)


def _take(part: int, whole: int) -> tuple[int, int]:
    """The part, no larger than the whole, and what is left."""
    part = min(part, whole)
    return part, whole - part


def _is_beside(reasoning: int, prompt: int, completion: int, total: int) -> bool:
    """xAI and others count reasoning beside completion_tokens; their total gives it away."""
    return reasoning > 0 and total == prompt + completion + reasoning


def _details(counts: Counts, *names: str) -> Counts:
    return next((d for name in names if isinstance(d := counts.get(name), Mapping)), {})


def _audio(counts: Counts, name: str) -> int:
    """Gemini's list of `{"modality": "AUDIO", "tokenCount": n}`."""
    rows = counts.get(name)
    if not isinstance(rows, list):
        return 0
    heard = (row for row in rows if isinstance(row, Mapping) and row.get("modality") == "AUDIO")
    return count(sum(count(row.get("tokenCount")) for row in heard))
