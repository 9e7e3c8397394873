"""Durations as the Go program writes them in its files: `500ms`, `30s`, `1m30s`."""

import re
from typing import Final

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_LONGEST_MS: Final = 7 * 24 * 3_600_000


def duration_ms(text: str) -> int:
    """In milliseconds; `0` is 0. Raises ValueError."""
    if text == "0":
        return 0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration such as 500ms, 30s or 1m30s")
    total = sum(float(number) * _UNIT_MS[unit] for number, unit in parts)
    if total > _LONGEST_MS:
        raise ValueError(f"{text!r} is longer than a week")
    return int(total)
