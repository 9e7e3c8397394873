"""The endpoint: an ASGI object that makes an Exchange of a request and sends it down the pipeline.

No Request, no StreamingResponse: they cost as much as everything else together on this path.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from app.errors import ClientGone, Draining, InvalidRequest, ProviderNotFound, Refusal
from app.exchange import Exchange, Facts, Headers, Proceed
from app.patience import Patience
from app.reply import AsgiReply, Send
from app.request_body import Receive, RequestBody
from config.client_address import client_address
from config.clock import Clock
from config.ids import new_id, random_piece
from config.providers import Provider, Providers
from config.settings import Settings

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,128}\Z")
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_DEFAULT_PREFIX: Final = "/v1/"
_KEPT_OF_A_STREAMED_BODY: Final = 64 * 1024


class Endpoint:
    def __init__(
        self,
        proceed: Proceed,
        *,
        providers: Providers,
        settings: Settings,
        clock: Clock,
        patience: Patience,
        trusted: Sequence[IPv4Network | IPv6Network],
    ) -> None:
        self._proceed = proceed
        self._providers = providers
        self._max_body_bytes = settings.max_request_body_bytes
        self._keep_bytes = max(settings.observability_max_request_body_bytes, _KEPT_OF_A_STREAMED_BODY)
        self._clock = clock
        self._patience = patience
        self._trusted = trusted
        self.is_draining = False

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        exchange = self._accept(scope, receive, send)
        try:
            await self._proceed(exchange)
        except ClientGone:
            return  # recorded; there is nobody to answer
        finally:
            exchange.let_go()

    def _accept(self, scope: dict[str, Any], receive: Receive, send: Send) -> Exchange:
        exchange = Exchange()
        exchange.accepted_ns = self._clock.monotonic_ns()
        exchange.accepted_at_ms = self._clock.now_ms()
        exchange.event_id = new_id()
        exchange.facts = Facts()
        exchange.held = exchange._call_facts = None
        exchange.method = scope["method"]
        exchange.headers = headers = scope["headers"]
        exchange.first = dict(reversed(headers))
        exchange.sent_path = _path(scope)
        exchange.query = scope["query_string"]
        exchange.request_id = _given(exchange, b"x-request-id", _REQUEST_ID) or exchange.event_id
        exchange.traceparent = _given(exchange, b"traceparent", _TRACEPARENT) or _new_traceparent()
        exchange.client_ip = self._client_ip(scope, headers)
        exchange.reply = AsgiReply(send)
        exchange.body = RequestBody(
            receive,
            self._patience,
            length=_body_length(exchange),
            max_bytes=self._max_body_bytes,
            keep_bytes=self._keep_bytes,
        )
        self._route(exchange)
        return exchange

    def _route(self, exchange: Exchange) -> None:
        """`/v1/*` goes to the default provider, `/{provider}/*` to any configured one."""
        exchange.provider, exchange.path = self._providers.default, exchange.sent_path
        exchange.refusal = self._malformed(exchange)
        if exchange.sent_path.startswith(_DEFAULT_PREFIX):
            return
        _, name, *rest = exchange.sent_path.split("/", 2)
        provider: Provider | None = self._providers.by_name.get(name)
        if provider is not None and rest:
            exchange.provider, exchange.path = provider, f"/{rest[0]}"
        else:
            exchange.refusal = ProviderNotFound(
                f"No provider '{name[:64]}' is configured here; known are {', '.join(self._providers.by_name)}."
            )

    def _malformed(self, exchange: Exchange) -> Refusal | None:
        if not exchange.header(b"host") or _stands_twice(b"host", exchange):
            return InvalidRequest("Send exactly one Host header.")
        if self.is_draining:
            return Draining("This server is being stopped; try again and another one will answer.")
        return None

    def _client_ip(self, scope: dict[str, Any], headers: Headers) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._trusted:
            return peer
        forwarded = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        return client_address(peer, forwarded, self._trusted)


def _stands_twice(name: bytes, exchange: Exchange) -> bool:
    if len(exchange.first) == len(exchange.headers):
        return False  # nothing does
    return sum(given == name for given, _ in exchange.headers) > 1


def _new_traceparent() -> str:
    random = random_piece().hex()
    return f"00-{random[:32]}-{random[32:]}-01"


def _path(scope: dict[str, Any]) -> str:
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else scope["path"]


def _given(exchange: Exchange, name: bytes, form: re.Pattern[bytes]) -> str:
    value = exchange.header(name)
    return value.decode() if value is not None and form.match(value) else ""


def _body_length(exchange: Exchange) -> int | None:
    """Content-Length; 0 when there is neither it nor a chunked body; None when the body is chunked."""
    if exchange.header(b"transfer-encoding") is not None:
        return None
    length = exchange.header(b"content-length")
    return int(length) if length is not None and length.isdigit() else 0
