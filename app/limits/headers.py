"""What a reply says about its limits: the IETF's RateLimit fields, and those that the provider's own SDKs know.

`RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-10, `RateLimit-Limit`, `-Remaining` and
`-Reset` its seventh version, which most clients read. All tell of the limit that is nearest to its end.
"""

import time
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from config.policy import Limit
from config.provider import Dialect

Headers = list[tuple[bytes, bytes]]
_REQUESTS: Final = ("requests", "parallel")


class Standing(Struct, frozen=True, gc=False):
    """Where a call stands with one limit, in the limit's units."""

    limit: Limit
    most: int
    remaining: int
    reset_s: int
    """Whole seconds, rounded up; of a lifetime limit 0."""

    @property
    def share_left(self) -> float:
        return self.remaining / self.most if self.most else 0.0


def limit_headers(standings: Sequence[Standing], dialect: Dialect, now_ms: int) -> Headers:
    if not standings:
        return []
    nearest = min(standings, key=lambda standing: standing.share_left)
    headers = _standard(nearest)
    for kind, measures in (("requests", _REQUESTS), ("tokens", ("tokens", "input_tokens", "output_tokens"))):
        of_kind = [standing for standing in standings if standing.limit.measure in measures]
        if of_kind:
            headers += _provider_s(kind, min(of_kind, key=lambda standing: standing.share_left), dialect, now_ms)
    return headers


def _standard(standing: Standing) -> Headers:
    name, window_s = standing.limit.name.encode(), standing.limit.window_ms // 1000
    window = b";w=%d" % window_s if window_s else b""
    return [
        (b"ratelimit-policy", b'"%b";q=%d%b' % (name, standing.most, window)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (name, standing.remaining, standing.reset_s)),
        (b"ratelimit-limit", b"%d" % standing.most),
        (b"ratelimit-remaining", b"%d" % standing.remaining),
        (b"ratelimit-reset", b"%d" % standing.reset_s),
    ]


def _provider_s(kind: str, standing: Standing, dialect: Dialect, now_ms: int) -> Headers:
    """As OpenAI writes them (`1m30s`), or Anthropic (RFC 3339); Gemini has none."""
    name = kind.encode()
    if dialect == "openai":
        return [
            (b"x-ratelimit-limit-" + name, b"%d" % standing.most),
            (b"x-ratelimit-remaining-" + name, b"%d" % standing.remaining),
            (b"x-ratelimit-reset-" + name, _duration(standing.reset_s)),
        ]
    if dialect == "anthropic":
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms // 1000 + standing.reset_s))
        return [
            (b"anthropic-ratelimit-%b-limit" % name, b"%d" % standing.most),
            (b"anthropic-ratelimit-%b-remaining" % name, b"%d" % standing.remaining),
            (b"anthropic-ratelimit-%b-reset" % name, at.encode()),
        ]
    return []


def _duration(seconds: int) -> bytes:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, b"h"), (minutes, b"m"), (seconds, b"s"))
    return b"".join(b"%d%b" % (number, unit) for number, unit in parts if number) or b"0s"
