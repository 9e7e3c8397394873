"""Backend `lunary`: each event as a run, a `start` and its `end` (or `error`) side by side in one batch.

Lunary answers 200 with a result for each of them. A `start` that it has already is a second delivery and fine; an
`end` without its start is dropped and called a success, so a run is only there when its start is.
https://docs.lunary.ai/docs/api
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from bus.event import ExchangeFinished, Usage
from config.errors import ConfigError
from config.settings import Settings
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry, Unknown
from dispatcher.backends.genai import Seen, error_type, operation_of, parameters
from dispatcher.backends.http import Answer, Endpoint
from dispatcher.backends.parts import Limits, Packed, deliver_in_parts
from dispatcher.backends.targets import key_in, url_in
from dispatcher.merging import Json
from dispatcher.payloads import timestamp
from dispatcher.said import Said, said_in
from dispatcher.shown import shown

_AT_ONCE: Final = 2
_ITEMS: Final = 100  # it works on them one after the other, inside the request
_MAX_BYTES: Final = 1024**2
_ALREADY: Final = "already exists"
_TYPES: Final = {"embeddings": "embed", "": "chain"}
_METADATA: Final = (
    *("project_id", "token_id", "organisation", "request_id", "session_id", "conversation_id", "provider", "method"),
    *("path", "status", "code", "cut", "cached", "attempts", "overhead_us", "cost_microusd"),
)
_encoder = msgspec.json.Encoder()


class Result(Struct):
    id: str | None = None
    success: bool = False
    error: str | None = None


class Results(Struct):
    results: list[Result]


class LunaryBackend:
    name = "lunary"

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
        body = b'{"events":[' + b",".join(one.data for one in part) + b"]}"
        headers = {"content-type": "application/json"}
        answer = await self._endpoint.post(body, headers, until=until, is_alone=len(part) == 1)
        if not isinstance(answer, Answer):
            return [answer] * len(part)
        return self._judged(answer.body, [one.item.event.event_id for one in part])

    def _judged(self, body: bytes, ids: Sequence[str]) -> list[Outcome]:
        """What failed while others of its batch worked is to blame itself; what failed together may not be."""
        try:
            told = msgspec.json.decode(body, type=Results).results
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [Unknown("Lunary answered without results")] * len(ids)
        by_run: defaultdict[str, list[Result]] = defaultdict(list)
        for result in told:
            by_run[result.id or ""].append(result)
        outcomes = [self._outcome(by_run[run]) for run in ids]
        has_worked = any(isinstance(outcome, Ok) for outcome in outcomes)
        return [Permanent(o.reason, is_sure=True) if has_worked and isinstance(o, Retry) else o for o in outcomes]

    def _outcome(self, results: Sequence[Result]) -> Outcome:
        failed = [r.error or "" for r in results if not r.success and _ALREADY not in (r.error or "")]
        if failed:
            return Retry(f"Lunary refused it: {self._endpoint.excerpt(failed[0])}")
        return Ok() if len(results) >= 2 else Unknown("Lunary's results do not name both halves of this run")


def encode(event: ExchangeFinished) -> bytes:
    """`start,end`, ready to be joined with others. Lunary sorts by time, so the end is never before the start."""
    said = said_in(event)
    return _encoder.encode(_start(event, said)) + b"," + _encoder.encode(_end(event, said))


def _start(event: ExchangeFinished, said: Said) -> Json:
    return _without_empty(
        {
            "type": _type(event),
            "event": "start",
            "runId": event.event_id,
            "timestamp": timestamp(event.accepted_at_ms),
            "name": event.model or event.path,
            "input": shown(event, said).input,
            "userId": event.end_user,
            "params": parameters(Seen(event, said)),
            "metadata": _without_empty({name: getattr(event, name) for name in _METADATA}),
            "runtime": "llm-proxy",
        }
    )


def _end(event: ExchangeFinished, said: Said) -> Json:
    took_us = event.last_byte_us or event.first_byte_us or event.upstream_head_us or 0
    error = error_type(event)
    told = {"error": {"message": error}} if error else {"output": shown(event, said).output}
    return _without_empty(
        {
            "type": _type(event),
            "event": "error" if error else "end",
            "runId": event.event_id,
            "timestamp": timestamp(event.accepted_at_ms + took_us // 1000),
            "tokensUsage": _usage(event.usage),
            **told,
        }
    )


def _type(event: ExchangeFinished) -> str:
    return _TYPES.get(operation_of(event), "llm")


def _usage(usage: Usage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    told = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
    return {**told, "promptCached": usage.cache_read} if usage.cache_read else told


def _without_empty(told: Json) -> Json:
    """Lunary takes null for a value."""
    return {name: value for name, value in told.items() if value is not None and value != "" and value != {}}


def build(settings: Settings) -> LunaryBackend:
    """Raises ConfigError."""
    mistakes: list[str] = []
    url = url_in("LUNARY_ENDPOINT", settings.lunary_endpoint, mistakes)
    key = key_in("LUNARY_API_KEY", settings.lunary_api_key, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    limits = Limits.of(settings, items=_ITEMS, max_bytes=_MAX_BYTES, at_once=_AT_ONCE)
    endpoint = Endpoint(
        url,
        headers={"authorization": f"Bearer {key.reveal()}"},
        secrets=[key],
        fixed_by="LUNARY_ENDPOINT and LUNARY_API_KEY",
        timeout_s=limits.within_s,
        at_once=_AT_ONCE,
    )
    return LunaryBackend(endpoint, limits)
