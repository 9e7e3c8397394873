"""Backend `webhook`: signed POSTs of `{"events": [...]}` to an address of the operator's own; see backends/README.md.

Each event is what a line of the `file` backend is, and `event_id` is its key. The receiver says 2xx for all of them, or
judges them one by one in `results`. 409 means that it has done this Idempotency-Key before.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from bus.event import ExchangeFinished
from config.clock import Clock, SystemClock
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry, Unknown
from dispatcher.backends.http import Answer, Endpoint, Rules
from dispatcher.backends.parts import Limits, Packed, deliver_in_parts
from dispatcher.backends.targets import key_in, url_in
from dispatcher.payloads import payload_of

_AT_ONCE: Final = 4
_RULES: Final = Rules(taken=frozenset({409}))
_MULTI_STATUS: Final = 207
_encoder = msgspec.json.Encoder()


class Result(Struct):
    """What the receiver says of one event."""

    event_id: str
    status: int
    """As if the event had been sent alone."""
    error: str = ""
    retry_after_s: int | None = None


class Results(Struct):
    results: list[Result]


class WebhookBackend:
    name = "webhook"

    def __init__(self, endpoint: Endpoint, secret: Secret, limits: Limits, clock: Clock | None = None) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self._limits = limits
        self._clock = clock or SystemClock()

    async def open(self) -> None:
        self._endpoint.open()

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        return await deliver_in_parts(batch, encode, self._send, self._limits)

    async def close(self) -> None:
        await self._endpoint.close()

    async def _send(self, part: Sequence[Packed], until: float) -> list[Outcome]:
        ids = [one.item.event.event_id for one in part]
        body = b'{"events":[' + b",".join(one.data for one in part) + b"]}"
        headers = {
            "content-type": "application/json",
            "idempotency-key": idempotency_key(ids),
            "x-delivery-attempt": str(max(one.item.deliveries for one in part)),
            "x-llm-proxy-signature": signature(self._secret, self._clock.now_ms() // 1000, body),
        }
        answer = await self._endpoint.post(body, headers, until=until, is_alone=len(part) == 1)
        if not isinstance(answer, Answer):
            return [answer] * len(part)
        return self._judged(answer, ids)

    def _judged(self, answer: Answer, ids: list[str]) -> list[Outcome]:
        results = _results_of(answer.body)
        if answer.status == _MULTI_STATUS or any(event_id in results for event_id in ids):
            return [self._outcome(results.get(event_id)) for event_id in ids]
        return [Ok()] * len(ids)

    def _outcome(self, result: Result | None) -> Outcome:
        if result is None:
            return Unknown("the receiver's results do not name this event")
        if 200 <= result.status < 300 or result.status in _RULES.taken:
            return Ok()
        reason = f"the receiver says {result.status} of this event: {self._endpoint.excerpt(result.error)}".rstrip(": ")
        if result.status in _RULES.refused:
            return Permanent(reason, is_sure=True)
        return Retry(reason, result.retry_after_s * 1000 if result.retry_after_s is not None else None)


def encode(event: ExchangeFinished) -> bytes:
    return _encoder.encode(payload_of(event))


def idempotency_key(ids: Sequence[str]) -> str:
    """One event's key is its id; that of several comes from their ids, so that the same batch has the same key."""
    return ids[0] if len(ids) == 1 else hashlib.sha256("\n".join(ids).encode()).hexdigest()


def signature(secret: Secret, at_s: int, body: bytes) -> str:
    """`t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`: the time lets receivers refuse old calls."""
    told = hmac.new(secret.reveal().encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={told}"


def build(settings: Settings) -> WebhookBackend:
    """Raises ConfigError."""
    mistakes: list[str] = []
    url = url_in("WEBHOOK_URL", settings.webhook_url, mistakes)
    secret = key_in("WEBHOOK_SECRET", settings.webhook_secret, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    limits = Limits.of(
        settings, items=settings.webhook_batch_size, max_bytes=settings.webhook_max_bytes, at_once=_AT_ONCE
    )
    endpoint = Endpoint(
        url,
        headers={},
        secrets=[secret, Secret(httpx.URL(url).raw_path.decode("ascii").lstrip("/"))],  # "Cannot POST /hooks/KEY"
        fixed_by="WEBHOOK_URL",
        timeout_s=limits.within_s,
        at_once=_AT_ONCE,
        rules=_RULES,
    )
    return WebhookBackend(endpoint, secret, limits)


def _results_of(body: bytes) -> dict[str, Result]:
    """By event id; empty for a body that is something else."""
    try:
        results = msgspec.json.decode(body, type=Results).results
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {result.event_id: result for result in results}
