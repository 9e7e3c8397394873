"""The system's own account, read from its files once everything has stopped: what it says must fit what is there."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bus.checkpoint import TOTALS, Totals
from bus.ownership import spools
from bus.slots import Slots

# A replayed letter is an event with a seq below 0 and the lease of its own group on it, which counts as open.
_RETURNED_TO_NOBODY: Final = "SELECT COUNT(*) FROM events WHERE seq < 0 AND seq NOT IN (SELECT seq FROM leases)"

_MARKS: Final = "lot:"
"""Of parking lots, among the counters; a failover may bring those of an ended one back."""


class Ledger(Struct, frozen=True, kw_only=True):
    recorded: int
    """Seqs that spools gave to the bus, holes included."""
    appended: int
    """Entries that the bus ever took."""
    lost: int
    """Holes: what damage took, and what a bus lost for good."""
    dropped: dict[str, int]
    bodies_dropped: int
    interrupted: int
    spools_left: int
    open: dict[str, int]
    """Per backend: neither delivered nor dead."""
    delivered: dict[str, int]
    dead: dict[str, set[str]]
    """Letters; replayed ones are open again."""
    purged: dict[str, int] = {}
    earlier: dict[str, int] = {}
    """Gone before the group was made; below 0: handed out again to a group that had been lost, or
    both parked and on the bus."""
    parked: dict[str, int] = {}
    """In parking lots on disk: open as well."""
    lost_parked: dict[str, int] = {}
    """Taken by damage of a parking lot."""
    damage: tuple[str, ...] = ()
    forgets: bool = False
    """The bus has lost its counters on the way: only what is still open, and what is left, can be judged."""

    @property
    def admitted(self) -> int:
        return self.lost + sum(self.lost_parked.values()) + sum(self.dropped.values())

    def problems(self) -> Iterator[str]:
        if self.spools_left:
            yield f"{self.spools_left} spools are left"
        if self.forgets:
            yield from (f"{backend} has {count} events open" for backend, count in self.open.items() if count)
            yield from (f"{backend} has {count} events parked" for backend, count in self.parked.items() if count > 0)
            return
        if self.recorded - self.lost != self.appended:
            yield f"ledger: {self.recorded} recorded - {self.lost} lost != {self.appended} in the bus"
        for backend, delivered in self.delivered.items():
            dead, pending = len(self.dead.get(backend, ())), self.open[backend]
            gone = self.purged.get(backend, 0) + self.earlier.get(backend, 0) + self.lost_parked.get(backend, 0)
            parked = self.parked.get(backend, 0)
            if pending or parked or delivered + dead + gone != self.appended:
                yield (
                    f"ledger of {backend}: {self.appended} in the bus != {delivered} delivered + {dead} dead "
                    f"+ {gone} purged, earlier or lost ({pending} pending, {parked} parked)"
                )
        yield from self.damage


def read_embedded(data: Path) -> Ledger:
    """Of the embedded log in DATA_DIR, and its spools."""
    totals = _totals(data / "spool")
    with closing(sqlite3.connect(f"file:{data / 'bus.db'}?mode=ro", uri=True)) as log:
        (said,) = log.execute("PRAGMA quick_check").fetchone()
        (last_seq,) = log.execute("SELECT last_seq FROM log").fetchone()
        groups = log.execute("SELECT name, next_seq, delivered, purged, earlier, parked, lost FROM groups").fetchall()
        leases = dict(log.execute("SELECT grp, COUNT(*) FROM leases GROUP BY grp").fetchall())
        (orphans,) = log.execute(_RETURNED_TO_NOBODY).fetchone()
        dead: dict[str, set[str]] = {group[0]: set() for group in groups}
        for group, event_id in log.execute("SELECT grp, event_id FROM dead_letters"):
            dead[group].add(str(uuid.UUID(bytes=event_id)))
    return Ledger(
        recorded=totals.recorded,
        appended=last_seq,
        lost=totals.lost + totals.unrecoverable,
        dropped=totals.dropped,
        bodies_dropped=totals.bodies_dropped,
        interrupted=totals.interrupted,
        spools_left=len(spools(data / "spool")),
        open={name: last_seq - next_seq + 1 + leases.get(name, 0) for name, next_seq, *_ in groups},
        delivered={name: delivered for name, _, delivered, *_ in groups},
        dead=dead,
        purged={name: purged for name, _, _, purged, *_ in groups},
        earlier={name: earlier for name, _, _, _, earlier, *_ in groups},
        parked={name: parked for name, *_, parked, _ in groups},
        lost_parked={name: lost for name, *_, lost in groups},
        damage=tuple(_damage(said, orphans)),
    )


def _damage(said: str, orphans: int) -> Iterator[str]:
    if said != "ok":
        yield f"bus.db is damaged: {said}"
    if orphans:
        yield f"{orphans} replayed letters lie in the log and no group has them"


def read_redis(data: Path, client: Any, key: str, *, forgets: bool) -> Ledger:
    """Of the stream in Redis, and the spools in DATA_DIR."""
    totals, tag = _totals(data / "spool"), f"{{{key}}}"
    counted = {name.decode(): value for name, value in client.hgetall(f"{tag}:ctr").items()}
    counters = {name: int(value) for name, value in counted.items() if not name.startswith(_MARKS)}
    groups = {group["name"].decode(): group for group in client.xinfo_groups(f"{tag}:evt")}
    dead = {
        name: {str(uuid.UUID(bytes=fields[b"i"])) for _, fields in client.xrange(f"{tag}:dead:{name}")}
        for name in groups
    }
    return Ledger(
        recorded=totals.recorded,
        appended=counters.get("appended", 0),
        lost=totals.lost + (0 if forgets else totals.unrecoverable),
        dropped=totals.dropped,
        bodies_dropped=totals.bodies_dropped,
        interrupted=totals.interrupted,
        spools_left=len(spools(data / "spool")),
        open={name: _open_in(client, tag, groups[name]) + counters.get(f"again:{name}", 0) for name in groups},
        delivered={name: counters.get(f"delivered:{name}", 0) for name in groups},
        dead=dead,
        purged={name: counters.get(f"purged:{name}", 0) for name in groups},
        earlier={name: counters.get(f"earlier:{name}", 0) for name in groups},
        parked={name: counters.get(f"parked:{name}", 0) for name in groups},
        lost_parked={name: counters.get(f"lost:{name}", 0) for name in groups},
        forgets=forgets,
    )


def _open_in(client: Any, tag: str, group: dict[str, Any]) -> int:
    """Handed out and not acknowledged, and not handed out yet."""
    behind = client.xrange(f"{tag}:evt", f"({group['last-delivered-id'].decode()}", count=1000)
    return int(group["pending"]) + len(behind)


def _totals(root: Path) -> Totals:
    slots = Slots.open(root / TOTALS, Totals)
    try:
        return slots.read() or Totals()
    finally:
        slots.close()
