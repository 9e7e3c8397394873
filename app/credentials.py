"""Credentials: where a client shows its token, and everything that must not reach an upstream.

A client's token is looked for where the provider's own SDK puts a key, then as a Bearer token. All headers that can
carry a credential are stripped, not only the one that was used; so are Cookie and the provider's key in the query.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from config.ids import TOKEN_PREFIX
from config.providers import Auth
from config.secret import Secret

STRIPPED: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"cookie2"}
)


def find_token(auth: Auth, shown: Mapping[bytes, bytes], query: bytes) -> str | None:
    """The client's token as it was shown among the headers or in the query, or None. An empty one counts as none."""
    own = shown.get(auth.header.encode())
    if own is not None and (token := _without_scheme(own, auth.scheme)):
        return token
    if auth.query and (token := _query_value(query, auth.query)):
        return token
    return _without_scheme(shown.get(b"authorization", b""), "Bearer")


def without_credentials(auth: Auth, query: bytes) -> bytes:
    """The query without the provider's key parameter, and without any value that is a token of ours."""
    if not query:
        return query
    kept = [pair for pair in query.split(b"&") if not _is_credential(auth, pair)]
    return b"&".join(kept)


def key_header(auth: Auth, key: Secret) -> tuple[bytes, bytes]:
    """The header with the API key, as the provider wants it."""
    value = f"{auth.scheme} {key.reveal()}" if auth.scheme else key.reveal()
    return auth.header.encode(), value.encode("latin-1")


def _without_scheme(value: bytes, scheme: str) -> str | None:
    text = value.decode("latin-1").strip()
    if not scheme:
        return text or None
    word, _, rest = text.partition(" ")
    return rest.strip() or None if word.lower() == scheme.lower() else None


def _query_value(query: bytes, name: str) -> str | None:
    for pair in query.decode("latin-1").split("&"):
        key, _, value = pair.partition("=")
        if unquote_plus(key) == name and value:
            return unquote_plus(value)
    return None


def _is_credential(auth: Auth, pair: bytes) -> bool:
    key, _, value = pair.decode("latin-1").partition("=")
    return bool(auth.query and unquote_plus(key) == auth.query) or unquote_plus(value).startswith(TOKEN_PREFIX)
