"""ShareWithOrigins: CORS (Fetch standard, section 3.2).

A preflight is answered here: no token, no allow-list, nothing sent upstream. Replies to a call with an Origin carry
that origin, refused ones too, so that a page can read why; whether an origin may call at all is ValidateCall's act.
"""

from typing import Final

from app.exchange import Exchange, Headers, Proceed
from app.reply import Reply

_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
_DEFAULT_HEADERS: Final = b"Authorization, Content-Type, X-Requested-With"
_EXPOSED: Final = (
    b"X-Request-ID, X-Proxy-ID, Retry-After, x-llm-proxy-request-id, x-llm-proxy-event-id, x-llm-proxy-overhead-ms"
)
_MAX_AGE: Final = b"86400"


class ShareWithOrigins:
    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        origin = exchange.header(b"origin")
        if exchange.method == "OPTIONS":
            await _answer_preflight(exchange, origin)
            return
        if origin is not None:
            exchange.reply = _SharedReply(exchange.reply, origin)
        await proceed(exchange)


async def _answer_preflight(exchange: Exchange, origin: bytes | None) -> None:
    headers: Headers = []
    if origin is not None:
        asked = exchange.header(b"access-control-request-headers")
        headers = [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", asked or _DEFAULT_HEADERS),
            (b"access-control-expose-headers", _EXPOSED),
            (b"access-control-max-age", _MAX_AGE),
        ]
    await exchange.reply.start(204, headers)
    await exchange.reply.finish()


class _SharedReply:
    """Puts our CORS headers in the place of an upstream's, whose origins are not ours."""

    def __init__(self, inner: Reply, origin: bytes) -> None:
        self._inner = inner
        self._origin = origin

    @property
    def is_started(self) -> bool:
        return self._inner.is_started

    @property
    def is_finished(self) -> bool:
        return self._inner.is_finished

    async def start(self, status: int, headers: Headers) -> None:
        kept = [(n, v) for n, v in headers if not n.startswith(b"access-control-")]
        await self._inner.start(
            status,
            [
                *kept,
                (b"access-control-allow-origin", self._origin),
                (b"access-control-expose-headers", _EXPOSED),
                (b"vary", b"Origin"),
            ],
        )

    async def write(self, chunk: bytes, *, last: bool = False) -> None:
        await self._inner.write(chunk, last=last)

    async def finish(self) -> None:
        await self._inner.finish()
