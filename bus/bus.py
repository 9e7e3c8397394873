"""The Bus protocol: what the relay and the dispatcher need of Redis Streams or of the embedded log.

One stream, one consumer group per backend. A producer is a spool: `append` is fenced by `(epoch, seq)`, which the bus
stores in the same atomic write as the entries, so that a resend is a no-op and a zombie is told so.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from msgspec import Struct

SUSPECT_AFTER: Final = 3
"""An event that was handed out this often without a word is handed out alone, so that its company is spared."""


class AppendStatus(Enum):
    OK = "ok"
    GAP = "gap"
    """The bus holds less than the relay thought: rewind to `high_water + 1`."""
    FENCED = "fenced"
    """A newer epoch owns this spool: stop."""


class AppendResult(Struct, frozen=True):
    status: AppendStatus
    epoch: int
    high_water: int
    """Last seq of this spool that the bus holds; -1 for none."""
    added: int = 0


class Entry(Struct, frozen=True):
    """One event on its way in: `payload` is what `bus.codec.encode` made."""

    event_id: bytes
    payload: bytes


class Delivery(Struct, frozen=True):
    """An event as handed to a consumer, leased until it is acknowledged or its idle time passes `min_idle_ms`."""

    key: str
    """The bus's own id of the entry."""
    event_id: bytes
    deliveries: int
    """1 on the first hand-out; higher tells of crashes or retries."""
    payload: bytes
    crashes: int = 0
    """Hand-outs in a row before this one that ended without a word: no acknowledgement, no `retry_in`."""
    is_returned: bool = False
    """Given back to this group alone, from its dead letters or from a parking lot."""


class GroupStats(Struct, frozen=True):
    name: str
    pending: int
    """Handed out, not acknowledged."""
    lag: int
    """Not handed out yet."""
    oldest_ms: int
    """Age of the oldest event that is not acknowledged; 0 when there is none."""
    dead: int
    """Dead letters there are."""
    delivered: int
    purged: int = 0
    """Dead letters that a person has deleted."""
    earlier: int = 0
    """Entries that were gone before the group was made; negative when it was lost, made again and gets some twice."""
    parked: int = 0
    """Events that lie in parking lots on disk."""
    lost: int = 0
    """Events that damage took from a parking lot."""


class BusStats(Struct, frozen=True):
    entries: int
    bytes: int
    appended: int
    """Entries ever appended."""
    groups: tuple[GroupStats, ...]
    claimed: int = 0
    """Large payloads that this process put into the shared folder instead of Redis."""
    unclaimed: int = 0
    """Those that went to Redis whole, since the folder could not be written."""


class Bus(Protocol):
    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        """Entries `first_seq ...` of a spool, atomically. With no entries: asks for the high water."""
        ...

    async def ensure_groups(self, names: Sequence[str]) -> None:
        """Creates missing groups at the beginning of the stream. Idempotent."""
        ...

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        """New entries for the group, waiting up to `block_ms` for the first."""
        ...

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        """Takes over pending entries whose consumer has been silent for `min_idle_ms`, or whose retry is due."""
        ...

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        """Heartbeat of running deliveries; returns the keys that are still this consumer's."""
        ...

    async def ack(self, group: str, keys: Sequence[str]) -> None: ...

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        """Gives pending entries back, to be claimed no sooner than in `delay_ms`."""
        ...

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        """Moves an entry that this consumer still owns to the group's dead letters; False when it owns it no more."""
        ...

    async def trim(self) -> int:
        """Deletes entries that every group has acknowledged; returns how many. Refuses nothing younger."""
        ...

    async def delivered_through(self, spool: bytes) -> int:
        """Highest seq of a spool such that it and all before it are acknowledged by every group; -1 for none."""
        ...

    async def retire(self, spool: bytes) -> None:
        """Forgets a producer whose spool has been deleted."""
        ...

    async def stats(self) -> BusStats: ...

    async def close(self) -> None: ...
