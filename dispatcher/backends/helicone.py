"""Backend `helicone`: one call per event to its log for custom models, which takes no batches.

The event's id is Helicone's request id, so a second delivery replaces the first. It answers 200 also when it failed to
log, with `{"error": ...}`: only a body without error is a yes.
https://docs.helicone.ai/getting-started/integration-method/manual-logger-curl
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from bus.event import ExchangeFinished, Usage
from config.errors import ConfigError
from config.settings import Settings
from dispatcher.backends.base import Delivered, Ok, Outcome, Retry
from dispatcher.backends.http import Answer, Endpoint
from dispatcher.backends.parts import Limits, Packed, deliver_in_parts
from dispatcher.backends.targets import key_in, url_in
from dispatcher.merging import Json
from dispatcher.said import Said, said_in
from dispatcher.shown import shown

_AT_ONCE: Final = 8
_MAX_BYTES: Final = 10 * 1024**2  # Helicone's own bound; what is larger is refused there
_URL: Final = "custom-model-nopath"
_encoder = msgspec.json.Encoder()


class HeliconeBackend:
    name = "helicone"

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits

    async def open(self) -> None:
        self._endpoint.open()

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        return await deliver_in_parts(batch, encode, self._send, self._limits)

    async def close(self) -> None:
        await self._endpoint.close()

    async def _send(self, part: Sequence[Packed], until: float) -> list[Outcome]:
        headers = {"content-type": "application/json"}
        answer = await self._endpoint.post(part[0].data, headers, until=until, is_alone=True)
        return [self._judged(answer) if isinstance(answer, Answer) else answer]

    def _judged(self, answer: Answer) -> Outcome:
        if answer.is_web_page:
            return Retry("a web page answered instead of Helicone; check HELICONE_ENDPOINT")
        error = _error_in(answer.body)
        return Retry(f"Helicone did not log it: {self._endpoint.excerpt(error)}") if error else Ok()


def encode(event: ExchangeFinished) -> bytes:
    said = said_in(event)
    return _encoder.encode(
        {
            "providerRequest": {"url": _URL, "json": _request(event, said), "meta": _meta(event)},
            "providerResponse": {"json": _response(event, said), "status": event.status or 499, "headers": {}},
            "timing": _timing(event),
        }
    )


def _request(event: ExchangeFinished, said: Said) -> Json:
    """A JSON object with a model in it, whatever was recorded."""
    named = {"model": event.model or event.path}
    if said.call:
        return {**named, **said.call}
    told = shown(event, said).input
    return {**named, "input": told} if told is not None else dict(named)


def _response(event: ExchangeFinished, said: Said) -> Json:
    """Helicone reads usage out of the response: when the recorded one has none, the event's is put in."""
    reply = dict(said.reply) or {"model": event.response_model or event.model, "id": event.response_id}
    if "usage" not in reply and "usageMetadata" not in reply and event.usage:
        reply["usage"] = _usage(event.usage)
    if not said.reply and (told := shown(event, said).output) is not None:
        reply["output"] = told
    if event.code:
        reply.setdefault("error", {"code": event.code})
    return reply


def _usage(usage: Usage) -> Json:
    """As OpenAI tells it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.read_from_cache,
            "cache_write_tokens": usage.written_to_cache,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _meta(event: ExchangeFinished) -> dict[str, str]:
    """Headers as Helicone's proxy would have seen them; the first makes a second delivery harmless."""
    properties = {
        "Project": event.project_id,
        "Token": event.token_id,
        "Provider": event.provider,
        "Path": event.path,
        "Request-Id": event.request_id,
        "Code": event.code,
        "Cut": event.cut,
        "Organisation": event.organisation,
        "Conversation": event.conversation_id,
    }
    told = {
        "Helicone-Request-Id": event.event_id,
        "Helicone-User-Id": event.end_user,
        "Helicone-Session-Id": event.session_id,
        **{f"Helicone-Property-{name}": value for name, value in properties.items()},
    }
    return {name: _in_a_header(value) for name, value in told.items() if value}


def _in_a_header(value: str) -> str:
    """Helicone makes headers of these; what no header can carry would refuse the whole record."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in value)


def _timing(event: ExchangeFinished) -> dict[str, Any]:
    end_ms = event.accepted_at_ms + (event.last_byte_us or event.first_byte_us or event.upstream_head_us or 0) // 1000
    told: dict[str, Any] = {"startTime": _moment(event.accepted_at_ms), "endTime": _moment(end_ms)}
    if event.streamed and event.first_byte_us is not None:
        told["timeToFirstToken"] = event.first_byte_us // 1000
    return told


def _moment(at_ms: int) -> dict[str, int]:
    return {"seconds": at_ms // 1000, "milliseconds": at_ms % 1000}


class _Told(Struct):
    error: Any = None


def _error_in(body: bytes) -> str:
    """Empty for `ok` and the like."""
    try:
        error = msgspec.json.decode(body, type=_Told).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return error if isinstance(error, str) else msgspec.json.encode(error).decode() if error else ""


def build(settings: Settings) -> HeliconeBackend:
    """Raises ConfigError."""
    mistakes: list[str] = []
    url = url_in("HELICONE_ENDPOINT", settings.helicone_endpoint, mistakes)
    key = key_in("HELICONE_API_KEY", settings.helicone_api_key, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    limits = Limits.of(settings, items=1, max_bytes=_MAX_BYTES, at_once=_AT_ONCE)
    endpoint = Endpoint(
        url,
        headers={"authorization": f"Bearer {key.reveal()}"},
        secrets=[key],
        fixed_by="HELICONE_ENDPOINT and HELICONE_API_KEY",
        timeout_s=limits.within_s,
        at_once=_AT_ONCE,
    )
    return HeliconeBackend(endpoint, limits)
