"""Backend `langfuse`: the spans of `otlp` with Langfuse's own attributes, to its OTLP endpoint.

Its older ingestion API is being removed. It answers 200 when it has stored the batch, and refuses a whole batch for one
malformed span, which is then found by halving. The span's id makes a second delivery an update.
https://langfuse.com/integrations/native/opentelemetry
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

import httpx
import msgspec

from bus.event import ExchangeFinished, Usage
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends import genai
from dispatcher.backends.genai import Seen, Value, error_type, operation_of
from dispatcher.backends.http import Endpoint, Rules
from dispatcher.backends.otlp import AT_ONCE, ITEMS, MAX_BYTES, OtlpBackend
from dispatcher.backends.otlp_encoding import FORMATS
from dispatcher.backends.parts import Limits
from dispatcher.backends.targets import key_in, url_in
from dispatcher.payloads import timestamp
from dispatcher.shown import shown

_PATH: Final = "/api/public/otel/v1/traces"
_INGESTION_VERSION: Final = "4"
_TYPES: Final = {"embeddings": "embedding", "": "span"}
_METADATA: Final = (
    "project_id",
    "token_id",
    "organisation",
    "request_id",
    "event_id",
    "provider",
    "path",
    "code",
    "cut",
)


def attributes(seen: Seen) -> Iterator[tuple[str, Value]]:
    """The conventions' names for everybody, then Langfuse's, which it prefers."""
    yield from genai.attributes(seen, with_bodies=False)
    told = {**_observation(seen.event), **_content(seen)}
    for name, value in told.items():
        if value not in (None, "", {}):
            yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _observation(event: ExchangeFinished) -> dict[str, Any]:
    operation, error = operation_of(event), error_type(event)
    return {
        "langfuse.observation.type": _TYPES.get(operation, "generation"),
        "langfuse.observation.model.name": event.response_model or event.model,
        "langfuse.observation.usage_details": _usage_details(event.usage),
        "langfuse.observation.cost_details": _cost_details(event.cost_microusd),
        "langfuse.observation.completion_start_time": _first_chunk_at(event),
        "langfuse.observation.level": "ERROR" if error else "WARNING" if event.cut else "DEFAULT",
        "langfuse.observation.status_message": error or (f"cut by the {event.cut}" if event.cut else ""),
        **{f"langfuse.observation.metadata.{name}": getattr(event, name) for name in _METADATA},
        # A session at Langfuse is what a client calls one, or its conversation.
        "langfuse.session.id": event.session_id or event.conversation_id,
    }


def _content(seen: Seen) -> dict[str, Any]:
    told = shown(seen.event, seen.said)
    return {
        "langfuse.observation.input": told.input,
        "langfuse.observation.output": told.output,
        "langfuse.observation.model.parameters": genai.parameters(seen),
    }


def _usage_details(usage: Usage | None) -> dict[str, int] | None:
    """Disjoint, as Langfuse adds them up; it knows what counts as input and output by these words in the names."""
    if usage is None:
        return None
    parts = {
        "input_cache_read": usage.cache_read + usage.audio_cache_read,
        "input_cache_creation": usage.cache_write,
        "input_cache_creation_1h": usage.cache_write_1h,
        "input_audio_tokens": usage.audio_input,
        "input_image_tokens": usage.image_input,
        "input_video_tokens": usage.video_input,
        "output_reasoning_tokens": usage.reasoning,
        "output_audio_tokens": usage.audio_output,
        "output_image_tokens": usage.image_output,
        "output_video_tokens": usage.video_output,
    }
    return {"input": usage.input, "output": usage.output} | {name: count for name, count in parts.items() if count}


def _cost_details(cost_microusd: int | None) -> dict[str, float] | None:
    return {"total": cost_microusd / 1e6} if cost_microusd is not None else None


def _first_chunk_at(event: ExchangeFinished) -> str:
    """Wall clock, as Langfuse wants it."""
    if not event.streamed or event.first_byte_us is None:
        return ""
    return timestamp(event.accepted_at_ms + event.first_byte_us // 1000)


def build(settings: Settings) -> OtlpBackend:
    """Raises ConfigError."""
    mistakes: list[str] = []
    host = url_in("LANGFUSE_HOST", settings.langfuse_host, mistakes)
    public = key_in("LANGFUSE_PUBLIC_KEY", settings.langfuse_public_key, mistakes)
    secret = key_in("LANGFUSE_SECRET_KEY", settings.langfuse_secret_key, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    basic = base64.b64encode(f"{public.reveal()}:{secret.reveal()}".encode()).decode()
    limits = Limits.of(settings, items=ITEMS, max_bytes=MAX_BYTES, at_once=AT_ONCE)
    url = httpx.URL(host)
    endpoint = Endpoint(
        str(url.copy_with(path=url.path.rstrip("/") + _PATH)),
        headers={"authorization": f"Basic {basic}", "x-langfuse-ingestion-version": _INGESTION_VERSION},
        secrets=[secret, Secret(basic)],
        fixed_by="LANGFUSE_HOST and the keys",
        timeout_s=limits.within_s,
        at_once=AT_ONCE,
        rules=Rules(),
    )
    return OtlpBackend("langfuse", endpoint, FORMATS["http/protobuf"], attributes, limits)
