"""What the consumers of this process have in hand, so that an answer that was lost can be told from work that runs.

An entry's key is `<history>/[again/]<id>`: after a failover or a flush the same id may name another event, so what is
held from before is then not acknowledged.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from msgspec import Struct

from bus.bus import Delivery
from bus.redis_keys import RETRY_STEP
from bus.redis_link import RedisLink
from bus.redis_payloads import PLAIN

AGAIN: Final = "again/"
"""Begins the id of an entry that lies in its group's replays."""
_HISTORY_LETTERS: Final = 12


class History:
    """Which life of the server ids belong to: how its replication id begins."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._of: tuple[str, str] | None = None
        """The node that was asked, and what it told."""

    @property
    def id(self) -> str:
        """Empty until it was asked for."""
        return self._of[1] if self._of else ""

    async def learn(self) -> None:
        info = await self._link.info("replication")
        self._of = self._link.node, str(info.get("master_replid", ""))[:_HISTORY_LETTERS]

    async def follow(self) -> None:
        """Asks only when another node answers by now."""
        if self._of is None or self._of[0] != self._link.node:
            await self.learn()

    def key(self, entry_id: str) -> str:
        return f"{self.id}/{entry_id}"

    def lanes(self, keys: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Ids of this history by the lane they lie in, AGAIN or the stream; a lane without any is left out."""
        ids = [id_of(key) for key in keys if key.partition("/")[0] == self.id]
        plain = [i for i in ids if not i.startswith(AGAIN)]
        if plain:
            yield "", plain
        if len(plain) < len(ids):
            yield AGAIN, [i.removeprefix(AGAIN) for i in ids if i.startswith(AGAIN)]


class Taken(Struct, frozen=True):
    """An entry as the server has handed it out, its payload not opened yet."""

    id: str
    """With its lane."""
    fields: dict[bytes, bytes]
    count: int
    """The server's delivery counter, this hand-out included."""

    @classmethod
    def of(cls, entry: Sequence[Any], count: int, lane: str = "") -> Self:
        entry_id, fields = entry
        return cls(lane + entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True)), count)

    @property
    def is_plain(self) -> bool:
        return PLAIN in self.fields

    @property
    def size(self) -> int:
        """Of the payload when it is opened."""
        return len(self.fields[PLAIN]) if self.is_plain else int(self.fields.get(b"n", 0))

    @property
    def retries(self) -> int:
        return self.count // RETRY_STEP

    def delivery(self, key: str, payload: bytes) -> Delivery:
        retries, hand_outs = divmod(self.count, RETRY_STEP)
        return Delivery(
            key, self.fields[b"i"], retries + hand_outs, payload, max(0, hand_outs - 1), self.id.startswith(AGAIN)
        )


class Held:
    """Ids, by group and consumer."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], set[str]] = {}
        self._shaken: set[tuple[str, str]] = set()

    def add(self, group: str, consumer: str, ids: Sequence[str]) -> None:
        self._ids.setdefault((group, consumer), set()).update(ids)

    def let_go(self, group: str, ids: Sequence[str]) -> None:
        for (of, _), held in self._ids.items():
            if of == group:
                held.difference_update(ids)

    def of(self, group: str, consumer: str) -> set[str]:
        return self._ids.get((group, consumer), set())

    def shake(self, group: str, consumer: str) -> None:
        """An answer was lost: the server may have handed it entries that nobody here has."""
        self._shaken.add((group, consumer))

    def is_shaken(self, group: str, consumer: str) -> bool:
        return (group, consumer) in self._shaken

    def calm(self, group: str, consumer: str) -> None:
        self._shaken.discard((group, consumer))


def id_of(key: str) -> str:
    return key.partition("/")[2]
