"""Time as a thing that is passed in, so that tests can hold it still."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall clock: integer milliseconds since the Unix epoch, as stored everywhere."""
        ...

    def monotonic_ns(self) -> int:
        """For durations only."""
        ...


class SystemClock:
    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
