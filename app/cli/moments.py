"""Points in time and rates as people type them: `2h` ago, `now`, `2026-11-21T10:00`, `500/s`. Raises BadParameter."""

import re
from datetime import UTC, datetime
from typing import Final

import typer

_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_RATE: Final = re.compile(r"([0-9]{1,6})(?:/([sm]))?", re.ASCII)
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment_ms(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch; a time without a zone is UTC."""
    if text == "now":
        return now_ms
    if ago := _AGO.fullmatch(text):
        return now_ms - int(ago[1]) * _UNIT_S[ago[2]] * 1000
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2h (ago) or 2026-11-21T10:00:00Z") from error


def per_second(text: str) -> float:
    found = _RATE.fullmatch(text)
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{text!r} is no rate; write 500/s or 30/m")
    return int(found[1]) / _UNIT_S[found[2] or "s"]


def told(at_ms: int) -> str:
    """To the millisecond, so that it can be given back."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
