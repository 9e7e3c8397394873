"""How often one address may do something: a bucket of tries each, refilled evenly, in bounded memory.

Counted per process: with several workers an address has as many buckets. That is enough against guessing, and keeps
the guard working while everything else is away.
"""

import math
from collections import OrderedDict

from config.clock import Clock

_NS_PER_MINUTE = 60_000_000_000
_MAX_KEYS = 10_000  # about 2 MB; beyond it the one that was silent longest starts anew


class Allowance:
    def __init__(self, per_minute: int, clock: Clock, max_keys: int = _MAX_KEYS) -> None:
        """`per_minute` 0 is no limit."""
        self._per_minute = per_minute
        self._clock = clock
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Key -> (tries left, when that was)."""

    def wait_s(self, key: str) -> int:
        """Whole seconds until the next try; 0 when there is one now."""
        if not self._per_minute:
            return 0
        missing = 1.0 - self._left(key)
        return math.ceil(missing * 60 / self._per_minute) if missing > 0 else 0

    def take(self, key: str) -> int:
        """Uses one try if there is one. Returns what `wait_s` would have."""
        wait_s = self.wait_s(key)
        if wait_s == 0 and self._per_minute:
            self._buckets[key] = (self._left(key) - 1.0, self._clock.monotonic_ns())
            self._buckets.move_to_end(key)
            while len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        return wait_s

    def _left(self, key: str) -> float:
        if key not in self._buckets:
            return float(self._per_minute)
        left, at = self._buckets[key]
        refilled = (self._clock.monotonic_ns() - at) * self._per_minute / _NS_PER_MINUTE
        return min(float(self._per_minute), left + refilled)
