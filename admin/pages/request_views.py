"""Exchanges as they are shown: the outcome in a word, the usage in its classes."""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from sql.rows import RequestRow

Tone = Literal["good", "warn", "bad", "quiet"]
_CUTS = {
    "client": "The client left before the end.",
    "upstream": "The provider ended it before its end.",
    "interrupted": "Our worker died in the middle of it.",
}
PRICED_BY = {"list": "the shipped list", "override": "a price of yours", "provider": "told by the provider"}
_USAGE = (
    ("Input", "input_tokens"),
    ("Cache read", "cache_read_tokens"),
    ("Cache write", "cache_write_tokens"),
    ("Cache write, 1 h", "cache_write_1h_tokens"),
    ("Audio input", "audio_input_tokens"),
    ("Output", "output_tokens"),
    ("Reasoning", "reasoning_tokens"),
    ("Audio output", "audio_output_tokens"),
)
_PROMPT = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
)
_COMPLETION = ("output_tokens", "reasoning_tokens", "audio_output_tokens")


class RequestView(Struct, frozen=True, kw_only=True):
    event_id: str
    request_id: str
    accepted_at_ms: int
    method: str
    path: str
    status: str
    tone: Tone
    code: str
    cut: str
    """A sentence; empty for an exchange that came to its end."""
    project_id: str
    project_name: str
    provider: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_microusd: int | None
    duration_us: int | None
    streamed: bool
    cached: bool


class UsageClass(Struct, frozen=True):
    name: str
    tokens: int


def request_views(rows: Iterable[RequestRow], project_names: Mapping[str, str]) -> list[RequestView]:
    return [request_view(row, project_names) for row in rows]


def request_view(row: RequestRow, project_names: Mapping[str, str]) -> RequestView:
    return RequestView(
        event_id=row.event_id,
        request_id=row.request_id,
        accepted_at_ms=row.accepted_at_ms,
        method=row.method,
        path=row.path,
        status=str(row.status) if row.status else "none",
        tone=_tone(row),
        code=row.code,
        cut=_CUTS.get(row.cut, ""),
        project_id=row.project_id,
        project_name=project_names.get(row.project_id, ""),
        provider=row.provider,
        model=row.model,
        prompt_tokens=_sum(row, _PROMPT),
        completion_tokens=_sum(row, _COMPLETION),
        cost_microusd=row.cost_microusd,
        duration_us=row.last_byte_us,
        streamed=row.streamed,
        cached=row.cached,
    )


def usage_of(row: RequestRow) -> list[UsageClass]:
    """The classes that were counted; empty when there are none."""
    told = [UsageClass(name, getattr(row, field)) for name, field in _USAGE if getattr(row, field) is not None]
    return [usage for usage in told if usage.tokens] or told[:1]


def _tone(row: RequestRow) -> Tone:
    if row.status >= 500 or row.status == 0 or row.cut in ("upstream", "interrupted"):
        return "bad"
    if row.status >= 400 or row.cut:
        return "warn"
    return "good" if row.status >= 200 else "quiet"


def _sum(row: RequestRow, fields: tuple[str, ...]) -> int | None:
    told = [getattr(row, field) for field in fields if getattr(row, field) is not None]
    return sum(told) if told else None
