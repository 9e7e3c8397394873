"""Who may change something: only a form that our own page made.

Two locks. The browser must say that the request comes from our origin (`Sec-Fetch-Site`, or `Origin` where plain
http or an older browser sends no fetch metadata); and, once signed in, the form must carry the session's own token.
"""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers

FIELD = "csrf"


def is_from_our_page(headers: Headers) -> bool:
    """False also when the browser says nothing at all: every browser sends Origin with a POST."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")


def is_token_right(expected: str, given: str) -> bool:
    return bool(expected) and hmac.compare_digest(expected.encode(), given.encode())
