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
    if type(value) is int and 0 <= value <= MAX_COUNT:  # nearly always
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0
    return MAX_COUNT if value >= MAX_COUNT else int(value)


def from_openai(counts: Counts) -> Usage | None:
    """Chat and legacy completions, responses, embeddings, audio and images; None when it holds no counts."""
    if not _tells(counts, "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"):
        return None
    get = counts.get
    prompt = count(get("prompt_tokens") or get("input_tokens"))
    completion = count(get("completion_tokens") or get("output_tokens"))
    ins = _object(get("prompt_tokens_details") or get("input_tokens_details") or get("input_token_details"))
    outs = _object(get("completion_tokens_details") or get("output_tokens_details") or get("output_token_details"))

    cache_read, rest = _take(count(ins.get("cached_tokens") or get("prompt_cache_hit_tokens")), prompt)
    cache_write, rest = _take(count(ins.get("cache_write_tokens")), rest)
    audio_input, text_input = _take(count(ins.get("audio_tokens")), rest)
    reasoning = count(outs.get("reasoning_tokens"))
    if not _is_beside(reasoning, prompt, completion, get("total_tokens")):
        reasoning, completion = _take(reasoning, completion)
    audio_output, text_output = _take(count(outs.get("audio_tokens")), completion)
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
    """Messages; output_tokens include thinking, which newer replies tell apart in their details."""
    if not _tells(counts, "input_tokens", "output_tokens"):
        return None
    get = counts.get
    by_lifetime = _object(get("cache_creation"))
    thinking = count(_object(get("output_tokens_details")).get("thinking_tokens"))
    reasoning, output = _take(thinking, count(get("output_tokens")))
    return Usage(
        input=count(get("input_tokens")),
        cache_read=count(get("cache_read_input_tokens")),
        cache_write=count(get("cache_creation_input_tokens") or sum(count(v) for v in by_lifetime.values())),
        output=output,
        reasoning=reasoning,
    )


def from_gemini(counts: Counts) -> Usage | None:
    """promptTokenCount includes cached content; candidates exclude thoughts; tool prompts are counted apart."""
    if not _tells(counts, "promptTokenCount", "candidatesTokenCount", "totalTokenCount"):
        return None
    get = counts.get
    cache_read, rest = _take(count(get("cachedContentTokenCount")), count(get("promptTokenCount")))
    heard = _audio(get("promptTokensDetails")) - _audio(get("cacheTokensDetails"))
    audio_input, text_input = _take(count(heard), rest)
    spoken = _audio(get("candidatesTokensDetails"))
    audio_output, text_output = _take(spoken, count(get("candidatesTokenCount")))
    return Usage(
        input=count(text_input + count(get("toolUsePromptTokenCount"))),
        cache_read=cache_read,
        output=text_output,
        reasoning=count(get("thoughtsTokenCount")),
        audio_input=audio_input,
        audio_output=audio_output,
    )


def _tells(counts: Counts, *names: str) -> bool:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return True
    return False


def _take(part: int, whole: int) -> tuple[int, int]:
    """The part, no larger than the whole, and what is left."""
    part = min(part, whole)
    return part, whole - part


def _is_beside(reasoning: int, prompt: int, completion: int, total: object) -> bool:
    """xAI and others count reasoning beside completion_tokens; their total gives it away."""
    return reasoning > 0 and total == prompt + completion + reasoning


def _object(value: object) -> Counts:
    return value if isinstance(value, dict) else {}


def _audio(rows: object) -> int:
    """Gemini's list of `{"modality": "AUDIO", "tokenCount": n}`."""
    if not isinstance(rows, list):
        return 0
    heard = (row for row in rows if isinstance(row, dict) and row.get("modality") == "AUDIO")
    return count(sum(count(row.get("tokenCount")) for row in heard))
