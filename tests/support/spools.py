"""Spools for tests: events, an open spool, and a Bus in memory that fails as a real one does."""

import asyncio
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from bus.bus import AppendResult, AppendStatus, BusStats, Delivery, Entry
from bus.errors import BusUnavailable
from bus.event import Body, ExchangeBegan, ExchangeFinished
from bus.spool import Spool
from config.ids import new_id


def began(event_id: str | None = None, **fields: Any) -> ExchangeBegan:
    event_id = event_id or new_id()
    known: dict[str, Any] = {"request_id": "r-" + event_id, "accepted_at_ms": 1, "method": "POST", "path": "/v1/x"}
    return ExchangeBegan(event_id=event_id, **(known | fields))


def finished(event_id: str | None = None, *, body: bytes = b"", **fields: Any) -> ExchangeFinished:
    event_id = event_id or new_id()
    known: dict[str, Any] = {"request_id": "r-" + event_id, "accepted_at_ms": 1, "method": "POST", "path": "/v1/x"}
    bodies: dict[str, Any] = {"request_body": Body(data=body, content_type="text/plain")} if body else {}
    return ExchangeFinished(event_id=event_id, **({"status": 200} | known | bodies | fields))


def open_spool(root: Path, **settings: Any) -> Spool:
    known: dict[str, Any] = {
        "segment_bytes": 64 * 1024,
        "max_bytes": 64 * 1024**2,
        "record": "os",
        "when_full": "drop",
        "sync_ms": 20,
        "wake": None,
    }
    return Spool.open(root, **(known | settings))


class History(Struct):
    """What one server holds."""

    stream: list[tuple[bytes, int, bytes, bytes]] = field(default_factory=list)
    """spool, seq, event id, payload"""
    producers: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    retired: set[bytes] = field(default_factory=set)


class MemoryBus:
    """A Bus as far as a relay needs one, with a replica that lags and outcomes that stay unknown."""

    def __init__(self) -> None:
        self.now = History()
        self.replica = History()
        self.faults: list[str] = []
        """Next first: `refused` (nothing happened), `unknown` (it happened, the answer is lost), `` (works)."""
        self.is_away = False
        self.stuck_at = -1
        """The call of this number never gets an answer, and nothing happens."""
        self.is_stuck = False
        self.delivered: dict[bytes, int] | None = None
        """Per spool; None: everything is delivered at once."""
        self.calls: list[tuple[bytes, int, int, int]] = []

    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        fault = self.faults.pop(0) if self.faults else ""
        if self.is_away or fault == "refused":
            raise BusUnavailable("away")
        self.calls.append((spool, epoch, first_seq, len(entries)))
        if len(self.calls) == self.stuck_at:
            self.is_stuck = True
            await asyncio.Event().wait()
        result = self._append(spool, epoch, first_seq, entries)
        if fault == "unknown":
            raise BusUnavailable("the answer is lost")
        return result

    def _append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        known, high_water = self.now.producers.get(spool, (0, -1))
        if epoch < known:
            return AppendResult(AppendStatus.FENCED, known, high_water)
        if first_seq > high_water + 1:
            return AppendResult(AppendStatus.GAP, known, high_water)
        new = [(first_seq + n, entry) for n, entry in enumerate(entries) if first_seq + n > high_water]
        stored = [(spool, seq, entry.event_id, entry.payload) for seq, entry in new if entry.payload]
        self.now.stream.extend(stored)
        high_water = max(high_water, first_seq + len(entries) - 1)
        self.now.producers[spool] = (epoch, high_water)
        return AppendResult(AppendStatus.OK, epoch, high_water, len(stored))

    def replicate(self) -> None:
        self.replica = copy.deepcopy(self.now)

    def fail_over(self) -> None:
        """What the replica did not have yet is gone."""
        self.now = copy.deepcopy(self.replica)

    def event_ids(self) -> list[bytes]:
        return [event_id for _, _, event_id, _ in self.now.stream]

    async def delivered_through(self, spool: bytes) -> int:
        if self.is_away:
            raise BusUnavailable("away")
        if self.delivered is not None:
            return self.delivered.get(spool, -1)
        return self.now.producers.get(spool, (0, -1))[1]

    async def retire(self, spool: bytes) -> None:
        if self.is_away:
            raise BusUnavailable("away")
        self.now.retired.add(spool)
        self.now.producers.pop(spool, None)

    async def ensure_groups(self, names: Sequence[str]) -> None:
        raise NotImplementedError

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        raise NotImplementedError

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        raise NotImplementedError

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        raise NotImplementedError

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        raise NotImplementedError

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        raise NotImplementedError

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        raise NotImplementedError

    async def trim(self) -> int:
        raise NotImplementedError

    async def stats(self) -> BusStats:
        raise NotImplementedError

    async def close(self) -> None:
        pass
