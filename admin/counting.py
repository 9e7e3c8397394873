"""Whether the workers of this host count limits together, or each keeps to its share; from the numbers they leave."""

import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from config import paths
from config.settings import Settings

_AWAY: Final = "llm_proxy_limits_away"
_CURRENT_S: Final = 15.0  # workers write every second; older ones are of workers that are gone


class _Numbers(Struct):
    gauges: dict[str, float] = {}


def workers_alone(settings: Settings) -> tuple[int, int]:
    """How many keep to their share of the limits, of how many."""
    alone = [away for file in _current(paths.metrics_dir(settings)) if (away := _away(file)) is not None]
    return sum(alone), len(alone)


def _current(folder: Path) -> list[Path]:
    now = time.time()
    try:
        return [file for file in folder.glob("*.json") if now - file.stat().st_mtime < _CURRENT_S]
    except OSError:
        return []  # one has just been taken away


def _away(file: Path) -> bool | None:
    """None where no worker wrote it."""
    try:
        numbers = msgspec.json.decode(file.read_bytes(), type=_Numbers)
    except (OSError, msgspec.MsgspecError):
        return None
    away = numbers.gauges.get(_AWAY)
    return None if away is None else bool(away)
