"""The breaker of one backend: whether the backend as a whole takes nothing. Pure: no clock, no bus, no dice.

closed ── `opens_after` failures in a row, of more than one event ──► open ── anything taken ──► closed

While it is open the worker sends one event at a time, after pauses; all others stay in the bus as they are. One event
that always fails proves nothing about its backend, so it opens nothing, however often it is tried.
"""

from collections.abc import Collection


class Breaker:
    def __init__(self, opens_after: int) -> None:
        self._opens_after = opens_after
        self._failures = 0
        self._suspect = ""
        self._is_of_many = False
        self.is_open = False

    def failed(self, keys: Collection[str]) -> bool:
        """Of `keys` nothing was taken; none: the backend could not even be opened. True when this opens the breaker."""
        self._failures += 1
        self._suspect = self._suspect or next(iter(keys), "")
        self._is_of_many = self._is_of_many or set(keys) != {self._suspect}
        if self.is_open or self._failures < self._opens_after or not self._is_of_many:
            return False
        self.is_open = True
        return True

    def answered(self) -> bool:
        """The backend took or judged an event. True when this closes the breaker."""
        was_open = self.is_open
        self._failures, self._suspect, self._is_of_many, self.is_open = 0, "", False, False
        return was_open
