"""What values may be, for every face of the acts. Each rule returns the value to store or raises Invalid."""

import re
from typing import Final

from admin.acts.errors import Invalid
from config.secret import Secret

MAX_DURATION_MS: Final = 525_600 * 60_000  # a year, as in the Go program
MAX_REQUESTS: Final = 2**53 - 1  # the largest whole number that JavaScript clients read back unchanged
MAX_WEIGHT: Final = 1000
MAX_EXPIRES_AT_MS: Final = 253_402_300_799_999  # the last millisecond of the year 9999
MAX_NAME_CHARS: Final = 200
MAX_GRACE_MS: Final = 7 * 24 * 3_600_000  # two secrets at once are a state to leave, not to live in

# Visible ASCII: a key goes out in a header, so a line break in it would be a second header.
_KEY = re.compile(r"[\x21-\x7e]{1,4096}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SEALED = "enc:"  # a key that looks sealed would be taken for one when it is read


def project_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME_CHARS or _CONTROL.search(name):
        raise Invalid("name", f"must be 1 to {MAX_NAME_CHARS} characters on one line")
    return name


def api_key(key: Secret, field: str = "api_key") -> Secret:
    value = key.reveal()
    if "..." in value or "****" in value:
        raise Invalid(field, "cannot save obfuscated API key - please provide the full API key")
    if not _KEY.match(value) or value.startswith(_SEALED):
        raise Invalid(field, "must be the provider's key: 1 to 4096 visible ASCII characters")
    return key


def weight(value: int) -> int:
    if not 0 <= value <= MAX_WEIGHT:
        raise Invalid("weight", f"must be 0 (kept, not used) to {MAX_WEIGHT}")
    return value


def expiry_ms(now_ms: int, duration_ms: int | None) -> int | None:
    """When a token made now ends; None stays never."""
    if duration_ms is None:
        return None
    if not 0 < duration_ms <= MAX_DURATION_MS:
        raise Invalid("duration_minutes", f"must be 1 to {MAX_DURATION_MS // 60_000}, or null for never")
    return now_ms + duration_ms


def grace_ms(value: int) -> int:
    """0 ends the old secret at once."""
    if not 0 <= value <= MAX_GRACE_MS:
        raise Invalid("grace", "must be 0 to 168h")
    return value


def expires_at_ms(value: int | None) -> int | None:
    """A time in the past is allowed: it ends the token now."""
    if value is None:
        return None
    if value > MAX_EXPIRES_AT_MS:
        raise Invalid("expires_at", "must not lie after the year 9999, or be null for never")
    return max(value, 0)


def max_requests(value: int | None) -> int | None:
    """0 is the older word for unlimited."""
    if value is not None and not 0 <= value <= MAX_REQUESTS:
        raise Invalid("max_requests", f"must be 1 to {MAX_REQUESTS}, or 0 or null for unlimited")
    return value or None
