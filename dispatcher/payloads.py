"""An event in the Go program's `EventPayload` fields, so that what reads its files and services reads ours.

Better than there: `runId` is the event's id, so a second delivery is seen as one; `timestamp` is the request's time;
`tokensUsage` is what the provider told; bodies are decoded. `event_id` comes first: the file backend finds lines by it.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from bus.event import ExchangeFinished, Usage
from dispatcher.bodies import readable


class TokensUsage(Struct, frozen=True):
    completion: int
    prompt: int


class EventPayload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    event_id: str
    kind: str = field(name="type")
    event: str
    run_id: str = field(name="runId")
    timestamp: str
    name: str = ""
    """The model."""
    user_id: str = field(default="", name="userId")
    """The end user, where the call named one."""
    input: msgspec.Raw | None = None
    input_base64: str = ""
    output: msgspec.Raw | None = None
    output_base64: str = ""
    tokens_usage: TokensUsage | None = field(default=None, name="tokensUsage")
    metadata: dict[str, Any] = {}
    log_id: int = field(name="log_id")


def payload_of(event: ExchangeFinished) -> EventPayload:
    asked = readable(event.request_body, "request")
    answered = readable(event.response_body, "response")
    return EventPayload(
        event_id=event.event_id,
        kind="llm",
        event="start",
        run_id=event.event_id,
        timestamp=timestamp(event.accepted_at_ms),
        name=event.model,
        user_id=event.end_user,
        input=asked.value,
        input_base64=asked.in_base64,
        output=answered.value,
        output_base64=answered.in_base64,
        tokens_usage=_tokens_usage(event.usage),
        metadata=_metadata(event),
        log_id=0,
    )


def timestamp(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tokens_usage(usage: Usage | None) -> TokensUsage | None:
    return TokensUsage(usage.completion_tokens, usage.prompt_tokens) if usage else None


def _metadata(event: ExchangeFinished) -> dict[str, Any]:
    """The Go program's five, then ours, empty ones left out."""
    ours = {
        "code": event.code,
        "trace_id": event.trace_id,
        "project_id": event.project_id,
        "token_id": event.token_id,
        "organisation": event.organisation,
        "session_id": event.session_id,
        "conversation_id": event.conversation_id,
        "provider": event.provider,
        "dialect": event.dialect,
        "response_model": event.response_model,
        "response_id": event.response_id,
        "cost_microusd": event.cost_microusd,
        "upstream_head_us": event.upstream_head_us,
        "first_byte_us": event.first_byte_us,
        "overhead_us": event.overhead_us,
        "request_bytes": event.request_bytes,
        "response_bytes": event.response_bytes,
        "streamed": event.streamed,
        "cut": event.cut,
        "cached": event.cached,
        "attempts": event.attempts,
        "usage": msgspec.to_builtins(event.usage) if event.usage else None,
    }
    return {
        "method": event.method,
        "path": event.path,
        "status": event.status,
        "duration_ms": (event.last_byte_us or 0) // 1000,
        "request_id": event.request_id,
    } | {name: value for name, value in ours.items() if value not in (None, "", False)}
