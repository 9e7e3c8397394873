"""The headers that the proxy itself puts on a reply, and the time stamps of the Go program's `X-Proxy-*`."""

import time
from functools import lru_cache
from importlib.metadata import version
from typing import Final

from app.exchange import Exchange, Headers
from app.recorder import overhead_ns

VERSION: Final = version("llm-proxy")


def reply_headers(exchange: Exchange) -> Headers:
    """Ids and our own share of the time, on every reply that our code makes or passes on."""
    return [
        (b"x-proxy", b"llm-proxy"),
        (b"x-llm-proxy-request-id", exchange.request_id.encode()),
        (b"x-llm-proxy-event-id", exchange.event_id.encode()),
        (b"x-llm-proxy-overhead-ms", f"{overhead_ns(exchange) / 1e6:.3f}".encode()),
    ]


def passage_headers(exchange: Exchange) -> Headers:
    """When the call came, and when the upstream's head did (RFC 3339, UTC)."""
    head_ns = exchange.facts.upstream_head_ns or time.monotonic_ns()
    since_accept_ms = (head_ns - exchange.accepted_ns) // 1_000_000
    answered = _rfc3339(exchange.accepted_at_ms + since_accept_ms)
    return [
        (b"x-proxy-received-at", _rfc3339(exchange.accepted_at_ms)),
        (b"x-proxy-first-response-at", answered),
        (b"x-proxy-final-response-at", answered),
    ]


def _rfc3339(at_ms: int) -> bytes:
    seconds, ms = divmod(at_ms, 1000)
    return b"%b.%03dZ" % (_second(seconds), ms)


@lru_cache(maxsize=8)  # every reply of a second asks for the same text, and making it is 4 % of a reply
def _second(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()
