"""A provider's usage object into `bus.event.Usage`, whose classes are disjoint.

OpenAI's prompt_tokens include cached, audio and image ones and its completion_tokens include reasoning; Anthropic's
input_tokens are the uncached rest already; Gemini counts thoughts and tool prompts beside the rest. Providers send
odd things now and then: whatever is no count is 0, and no part is larger than its whole. Nothing here raises.
"""

from collections.abc import Mapping
from typing import Any, Final

from bus.event import Tier, Usage

Counts = Mapping[str, Any]
MAX_COUNT: Final = 2**31 - 1  # fits every database's integer; no exchange comes near it
_TIERS: Final[dict[str, Tier]] = {"batch": "batch", "flex": "flex", "priority": "priority", "fast": "fast"}
"""OpenAI's `default` and `scale` cost the usual; so does Anthropic's `priority`, which was paid for before."""


def count(value: object) -> int:
    """A number of model tokens: 0 for what is none, clamped to MAX_COUNT."""
    if type(value) is int and 0 <= value <= MAX_COUNT:  # nearly always
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0
    return MAX_COUNT if value >= MAX_COUNT else int(value)


def tier_of(told: object) -> Tier:
    """OpenAI's and Gemini's service tiers; empty for the usual one and for what we do not know."""
    return _TIERS.get(told.lower(), "") if isinstance(told, str) else ""


def from_openai(counts: Counts, service_tier: object = None) -> Usage | None:
    """Chat and legacy completions, responses, embeddings, audio and images; None when it holds no counts.

    What an images reply has put out is image, unless its details say otherwise.
    """
    if not _tells(counts, "prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"):
        return _by_duration(counts)
    get = counts.get
    prompt = count(get("prompt_tokens") or get("input_tokens"))
    completion = count(get("completion_tokens") or get("output_tokens"))
    ins = _object(get("prompt_tokens_details") or get("input_tokens_details") or get("input_token_details"))
    outs = _object(get("completion_tokens_details") or get("output_tokens_details") or get("output_token_details"))
    tier, told_cost = tier_of(service_tier), _told_cost(counts)
    if "prompt_tokens" in counts and not any((*ins.values(), *outs.values(), get("prompt_cache_hit_tokens"))):
        return Usage(input=prompt, output=completion, service_tier=tier, told_cost_microusd=told_cost)  # nearly always

    cached = _object(ins.get("cached_tokens_details"))
    cache_read, rest = _take(count(ins.get("cached_tokens") or get("prompt_cache_hit_tokens")), prompt)
    audio_cache_read, cache_read = _take(count(cached.get("audio_tokens")), cache_read)
    cache_write, rest = _take(count(ins.get("cache_write_tokens")), rest)
    audio_input, rest = _take(max(0, count(ins.get("audio_tokens")) - audio_cache_read), rest)
    drawn_from = max(0, count(ins.get("image_tokens")) - count(cached.get("image_tokens")))
    image_input, text_input = _take(drawn_from, rest)
    reasoning = count(outs.get("reasoning_tokens"))
    if not _is_beside(reasoning, prompt, completion, get("total_tokens")):
        reasoning, completion = _take(reasoning, completion)
    audio_output, completion = _take(count(outs.get("audio_tokens")), completion)
    is_drawn = "image_tokens" in ins and not outs and "prompt_tokens" not in counts
    image_output, text_output = _take(completion if is_drawn else count(outs.get("image_tokens")), completion)
    return Usage(
        input=text_input,
        cache_read=cache_read,
        cache_write=cache_write,
        output=text_output,
        reasoning=reasoning,
        audio_input=audio_input,
        audio_output=audio_output,
        audio_cache_read=audio_cache_read,
        image_input=image_input,
        image_output=image_output,
        service_tier=tier,
        told_cost_microusd=told_cost,
    )


def from_anthropic(counts: Counts) -> Usage | None:
    """Messages; output_tokens include thinking, which newer replies tell apart in their details."""
    if not _tells(counts, "input_tokens", "output_tokens"):
        return None
    get = counts.get
    by_lifetime = _object(get("cache_creation"))
    thinking = count(_object(get("output_tokens_details")).get("thinking_tokens"))
    reasoning, output = _take(thinking, count(get("output_tokens")))
    hour = count(by_lifetime.get("ephemeral_1h_input_tokens"))
    written = count(get("cache_creation_input_tokens"))
    hour, minutes = _take(hour, written or count(hour + count(by_lifetime.get("ephemeral_5m_input_tokens"))))
    return Usage(
        input=count(get("input_tokens")),
        cache_read=count(get("cache_read_input_tokens")),
        cache_write=minutes,
        cache_write_1h=hour,
        output=output,
        reasoning=reasoning,
        web_searches=count(_object(get("server_tool_use")).get("web_search_requests")),
        service_tier=_tier_of_anthropic(counts),
        told_cost_microusd=_told_cost(counts),
    )


def from_gemini(counts: Counts) -> Usage | None:
    """promptTokenCount includes cached content; candidates exclude thoughts; tool prompts are counted apart."""
    if not _tells(counts, "promptTokenCount", "candidatesTokenCount", "totalTokenCount"):
        return None
    get = counts.get
    ins, cached, outs = (
        _by_modality(get(name)) for name in ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails")
    )
    cache_read, rest = _take(count(get("cachedContentTokenCount")), count(get("promptTokenCount")))
    audio_cache_read, cache_read = _take(cached.audio, cache_read)
    audio_input, rest = _take(count(ins.audio - cached.audio), rest)
    image_input, rest = _take(count(ins.image - cached.image), rest)
    video_input, text_input = _take(count(ins.video - cached.video), rest)
    audio_output, rest = _take(outs.audio, count(get("candidatesTokenCount")))
    image_output, rest = _take(outs.image, rest)
    video_output, text_output = _take(outs.video, rest)
    return Usage(
        input=count(text_input + count(get("toolUsePromptTokenCount"))),
        cache_read=cache_read,
        output=text_output,
        reasoning=count(get("thoughtsTokenCount")),
        audio_input=audio_input,
        audio_output=audio_output,
        audio_cache_read=audio_cache_read,
        image_input=image_input,
        image_output=image_output,
        video_input=video_input,
        video_output=video_output,
        service_tier=tier_of(get("serviceTier")),
    )


def _by_duration(counts: Counts) -> Usage | None:
    """Transcriptions of some models are billed by their seconds."""
    seconds = counts.get("seconds")
    if counts.get("type") != "duration" or isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return Usage(audio_ms=count(seconds * 1000))


def _told_cost(counts: Counts) -> int | None:
    """OpenRouter's own figure, in dollars; with a key of one's own there, the provider's bill comes on top."""
    cost = counts.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not cost >= 0:
        return None
    beside = _object(counts.get("cost_details")).get("upstream_inference_cost") if counts.get("is_byok") is True else 0
    if isinstance(beside, bool) or not isinstance(beside, int | float) or not beside >= 0:
        beside = 0
    return count((cost + beside) * 1e6 + 0.5)


def _tier_of_anthropic(counts: Counts) -> Tier:
    if counts.get("service_tier") == "batch":
        return "batch"
    return "fast" if counts.get("speed") == "fast" else ""


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


class _Modalities:
    """Gemini's list of `{"modality": "AUDIO", "tokenCount": n}`; pages of documents are read as images."""

    __slots__ = ("audio", "image", "video")

    def __init__(self) -> None:
        self.audio = self.image = self.video = 0


def _by_modality(rows: object) -> _Modalities:
    found = _Modalities()
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        number = count(row.get("tokenCount"))
        match row.get("modality"):
            case "AUDIO":
                found.audio = count(found.audio + number)
            case "IMAGE" | "DOCUMENT":
                found.image = count(found.image + number)
            case "VIDEO":
                found.video = count(found.video + number)
    return found
