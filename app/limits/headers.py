"""What a reply says about its limits: the IETF's RateLimit fields, and those that the provider's own SDKs know.

`RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-10, `RateLimit-Limit`, `-Remaining` and
`-Reset` its seventh version, which most clients read. All tell of the limit that is nearest to its end.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from config.policy import Limit, Measure
from config.provider import Dialect

Headers = list[tuple[bytes, bytes]]
_KINDS: Final[dict[Measure, tuple[int, ...]]] = {
    "requests": (0, 1),
    "parallel": (0, 1),
    "tokens": (0, 2),
    "input_tokens": (0, 2),
    "output_tokens": (0, 2),
    "cost": (0,),
}
"""Places in what `_nearest` gives."""


class Standing(Struct, frozen=True, gc=False):
    """Where a call stands with one limit, in the limit's units."""

    limit: Limit
    window_ms: int
    most: int
    remaining: int
    reset_s: int
    """Whole seconds, rounded up; of a lifetime limit 0."""


def limit_headers(standings: Sequence[Standing], dialect: Dialect, now_ms: int) -> Headers:
    nearest, of_requests, of_tokens = _nearest(standings)
    if nearest is None:
        return []
    headers = _standard(nearest)
    if of_requests is not None:
        headers += _provider_s(b"requests", of_requests, dialect, now_ms)
    if of_tokens is not None:
        headers += _provider_s(b"tokens", of_tokens, dialect, now_ms)
    return headers


def _nearest(standings: Sequence[Standing]) -> tuple[Standing | None, Standing | None, Standing | None]:
    """To its end: of all, of those of requests, of those of tokens."""
    found: list[Standing | None] = [None, None, None]
    least = [2.0, 2.0, 2.0]
    for standing in standings:
        share_left = standing.remaining / standing.most if standing.most else 0.0
        for kind in _KINDS[standing.limit.measure]:
            if share_left < least[kind]:
                least[kind], found[kind] = share_left, standing
    return found[0], found[1], found[2]


def _standard(standing: Standing) -> Headers:
    name, most, remaining = standing.limit.name.encode(), standing.most, b"%d" % standing.remaining
    window = b";w=%d" % (standing.window_ms // 1000) if standing.window_ms else b""
    return [
        (b"ratelimit-policy", b'"%b";q=%d%b' % (name, most, window)),
        (b"ratelimit", b'"%b";r=%b;t=%d' % (name, remaining, standing.reset_s)),
        (b"ratelimit-limit", b"%d" % most),
        (b"ratelimit-remaining", remaining),
        (b"ratelimit-reset", b"%d" % standing.reset_s),
    ]


def _provider_s(kind: bytes, standing: Standing, dialect: Dialect, now_ms: int) -> Headers:
    """As OpenAI writes them (`1m30s`), or Anthropic (RFC 3339); Gemini has none."""
    if dialect == "openai":
        return [
            (b"x-ratelimit-limit-" + kind, b"%d" % standing.most),
            (b"x-ratelimit-remaining-" + kind, b"%d" % standing.remaining),
            (b"x-ratelimit-reset-" + kind, _duration(standing.reset_s)),
        ]
    if dialect == "anthropic":
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms // 1000 + standing.reset_s))
        return [
            (b"anthropic-ratelimit-%b-limit" % kind, b"%d" % standing.most),
            (b"anthropic-ratelimit-%b-remaining" % kind, b"%d" % standing.remaining),
            (b"anthropic-ratelimit-%b-reset" % kind, at.encode()),
        ]
    return []


@lru_cache(maxsize=4096)
def _duration(seconds: int) -> bytes:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, b"h"), (minutes, b"m"), (seconds, b"s"))
    return b"".join(b"%d%b" % (number, unit) for number, unit in parts if number) or b"0s"
