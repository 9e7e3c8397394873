"""Headers on their way through: what is dropped, what is added, in both directions.

Hop-by-hop fields end here (RFC 9110 section 7.6.1), credentials are swapped, and what proxies before us said of the
client stays with us. Everything else passes with its multiplicity and order.
"""

from typing import Final

from app.credentials import STRIPPED, key_header
from app.exchange import Exchange, Headers
from app.proxy_headers import VERSION, passage_headers, reply_headers
from config.secret import Secret

_NONE: Final[frozenset[bytes]] = frozenset()
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_CLIENT_ONLY: Final = frozenset(
    {
        b"host",
        b"expect",  # answered by our own server; the upstream gets the body at once
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-original-forwarded-for",
        b"x-real-ip",
        b"x-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"cf-ipcountry",
        b"x-amzn-trace-id",
        b"x-request-id",
        b"traceparent",
        b"x-proxy",
        b"x-proxy-version",
        b"x-proxy-id",
    }
)
_OURS: Final = ((b"x-proxy", b"llm-proxy"), (b"x-proxy-version", VERSION.encode()))
_NOT_SENT_UPSTREAM: Final = _HOP_BY_HOP | _CLIENT_ONLY | STRIPPED
_NOT_SENT_WITHOUT_BODY: Final = _NOT_SENT_UPSTREAM | {b"content-length"}
_NOT_SENT_BACK: Final = _HOP_BY_HOP | {b"set-cookie", b"set-cookie2"}


def upstream_headers(exchange: Exchange, key: Secret, *, has_body: bool) -> Headers:
    """The client's headers, less what is not the upstream's business, with the API key."""
    dropped = _NOT_SENT_UPSTREAM if has_body else _NOT_SENT_WITHOUT_BODY
    if b"connection" in exchange.first and (named := named_in_connection(exchange.headers)):
        dropped |= named
    kept = [(name, value) for name, value in exchange.headers if name not in dropped]
    return [
        *kept,
        key_header(exchange.provider.auth, key),
        (b"x-request-id", exchange.request_id.encode()),
        (b"traceparent", exchange.traceparent.encode()),
        *_OURS,
        (b"x-proxy-id", exchange.project.row.id.encode()),
    ]


def with_length_in_clear(headers: Headers, length: int) -> Headers:
    """For a body that we have changed, whose answer has to be read on its way."""
    kept = [(name, value) for name, value in headers if name not in (b"content-length", b"accept-encoding")]
    return [*kept, (b"content-length", str(length).encode()), (b"accept-encoding", b"identity")]


def client_headers(exchange: Exchange, headers: Headers) -> Headers:
    """The upstream's headers, less its connection's, with ours. Its cookies are meant for nobody here."""
    dropped = _NOT_SENT_BACK
    if named := named_in_connection(headers):
        dropped |= named
    kept = [(name, value) for name, value in headers if name not in dropped and not name.startswith(b"x-llm-proxy-")]
    if exchange.held is not None:
        said = {name for name, _ in kept}  # what the upstream says of its own limits counts before ours
        kept += [(name, value) for name, value in exchange.held.headers if name not in said]
    return [*kept, *reply_headers(exchange), *passage_headers(exchange)]


def named_in_connection(headers: Headers) -> frozenset[bytes]:
    """Fields that a Connection header declares hop-by-hop."""
    said = [value for name, value in headers if name == b"connection"]
    return frozenset(word.strip().lower() for value in said for word in value.split(b",")) if said else _NONE


def content_length(headers: Headers) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
