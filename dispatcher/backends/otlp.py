"""Backend `otlp`: each exchange as a span for any OpenTelemetry collector, over HTTP in protobuf or JSON, gzipped.

OTLP says itself what may be repeated: 429, 502, 503 and 504. A partial success never is, and does not say which spans
were refused: its batch goes to the dead letters as it is. Wrong settings (401, 404 and the like) wait for a person.
https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

import asyncio
import gzip
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import httpx

from bus.event import ExchangeFinished
from config.errors import ConfigError
from config.logs import log
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends import genai
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry
from dispatcher.backends.genai import Seen, Value
from dispatcher.backends.http import MISCONFIGURED, Answer, Endpoint, Rules
from dispatcher.backends.otlp_encoding import FORMATS, Format, partial_success
from dispatcher.backends.parts import Limits, Packed, deliver_in_parts
from dispatcher.backends.spans import span_of
from dispatcher.backends.targets import headers_in, url_in
from dispatcher.said import said_in

RULES: Final = Rules(refused=frozenset(range(400, 600)) - MISCONFIGURED - {429, 502, 503, 504})
AT_ONCE: Final = 2
ITEMS: Final = 512  # the SDKs' own batch
MAX_BYTES: Final = 4 * 1024**2  # below what collectors take by default (20 MiB, some 4)
_GZIP_LEVEL: Final = 1
_TRACES: Final = "/v1/traces"

_logger = logging.getLogger(__name__)

Attributes = Callable[[Seen], Iterable[tuple[str, Value]]]


class OtlpBackend:
    """Also under another name, for a service that has its own attributes (langfuse)."""

    def __init__(self, name: str, endpoint: Endpoint, wire: Format, attributes: Attributes, limits: Limits) -> None:
        self.name = name
        self._endpoint = endpoint
        self._wire = wire
        self._attributes = attributes
        self._limits = limits

    async def open(self) -> None:
        self._endpoint.open()

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        return await deliver_in_parts(batch, self._encode, self._send, self._limits)

    async def close(self) -> None:
        await self._endpoint.close()

    def _encode(self, event: ExchangeFinished) -> bytes:
        return self._wire.span(span_of(event, self._attributes(Seen(event, said_in(event)))))

    async def _send(self, part: Sequence[Packed], until: float) -> list[Outcome]:
        body = await asyncio.to_thread(self._request, part)
        headers = {"content-type": self._wire.content_type, "content-encoding": "gzip"}
        answer = await self._endpoint.post(body, headers, until=until, is_alone=len(part) == 1)
        outcome = self._judged(answer, len(part)) if isinstance(answer, Answer) else answer
        return [outcome] * len(part)

    def _request(self, part: Sequence[Packed]) -> bytes:
        request = self._wire.request(one.data for one in part)
        return gzip.compress(request, _GZIP_LEVEL, mtime=0)

    def _judged(self, answer: Answer, count: int) -> Outcome:
        if answer.is_web_page:
            return Retry("a web page answered instead of a collector; check the address")
        rejected, said = partial_success(answer.body)
        if not rejected and not said:
            return Ok()
        said = self._endpoint.excerpt(said)
        log(_logger, logging.WARNING, "a collector did not take all", backend=self.name, rejected=rejected, sent=count)
        if not rejected:
            return Ok()
        return Permanent(f"{rejected} of {count} spans were rejected, it is not said which: {said}", is_sure=True)


def with_path(url: str) -> str:
    """As SDKs do: the base of a collector gets the path of its traces, a whole address stays."""
    told = httpx.URL(url)
    return str(told.copy_with(path=_TRACES)) if told.path in ("", "/") else url


def build(settings: Settings) -> OtlpBackend:
    """Raises ConfigError."""
    mistakes: list[str] = []
    url = url_in("OTLP_ENDPOINT", settings.otlp_endpoint, mistakes)
    headers = headers_in("OTLP_HEADERS", settings.otlp_headers, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    limits = Limits.of(settings, items=ITEMS, max_bytes=MAX_BYTES, at_once=AT_ONCE)
    endpoint = Endpoint(
        with_path(url),
        headers=headers,
        secrets=[Secret(value) for value in headers.values()],
        fixed_by="OTLP_ENDPOINT and OTLP_HEADERS",
        timeout_s=limits.within_s,
        at_once=AT_ONCE,
        rules=RULES,
    )

    def attributes(seen: Seen) -> Iterator[tuple[str, Value]]:
        return genai.attributes(seen, with_bodies=settings.otlp_bodies)

    return OtlpBackend("otlp", endpoint, FORMATS[settings.otlp_protocol], attributes, limits)
