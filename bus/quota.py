"""How much of LLM_PROXY_SPOOL_MAX_BYTES all spools of a machine have taken.

Each worker measures the files itself, about once a second, and adds what it allocates in between. Several workers that
take their next segment within the same second may overshoot by one segment each.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from bus.segments import SUFFIX

TIGHT: Final = 0.90  # from here on bodies are left out
NO_NEW: Final = 0.95  # from here on `reject` refuses new exchanges, so that the running ones still find room
_REMEASURE_S: Final = 1.0


class Quota:
    def __init__(self, root: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._root = root
        self._used = 0
        self._measured_at = -_REMEASURE_S
        self.measure()

    def measure(self) -> None:
        self._used = sum(spool_size(Path(entry.path))[1] for entry in os.scandir(self._root) if entry.is_dir())
        self._measured_at = time.monotonic()

    def measure_if_old(self, age_s: float = _REMEASURE_S) -> None:
        if time.monotonic() - self._measured_at >= age_s:
            self.measure()

    def took(self, nbytes: int) -> None:
        self._used += nbytes

    def has_room(self, nbytes: int) -> bool:
        return self._used + nbytes <= self.max_bytes

    def level(self, unused: int) -> float:
        """How full, from 0 to 1; `unused` bytes are allocated but free in the caller's own segment."""
        return (self._used - unused) / self.max_bytes


def spool_size(folder: Path) -> tuple[int, int]:
    """Number and bytes of its segments; none for a folder that its reader has just deleted."""
    sizes = []
    with contextlib.suppress(FileNotFoundError):
        sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
    return len(sizes), sum(sizes)
