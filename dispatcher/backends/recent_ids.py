"""The ids that a backend without keys of its own has taken lately: a bounded memory, the oldest forgotten first."""

from collections.abc import Iterable


class RecentIds:
    """Knows the newest `most` ids, and up to half of them more: they are forgotten by the half, which costs nothing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._newer: set[bytes] = set()  # of 16 bytes instead of 36 letters; about 100 bytes each in all
        self._older: list[set[bytes]] = []

    def __contains__(self, event_id: str) -> bool:
        key = _key(event_id)
        return key in self._newer or any(key in older for older in self._older)

    def __len__(self) -> int:
        return len(self._newer) + sum(map(len, self._older))

    def add(self, event_ids: Iterable[str]) -> None:
        for event_id in event_ids:
            self._newer.add(_key(event_id))
            if 2 * len(self._newer) >= self._most:
                self._older = [*self._older, self._newer][-2:]
                self._newer = set()


def _key(event_id: str) -> bytes:
    """A file may hold lines of others, whose ids are none of ours."""
    try:
        return bytes.fromhex(event_id.replace("-", ""))
    except ValueError:
        return event_id.encode()
