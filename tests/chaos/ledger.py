"""The system's own account, read from its files once everything has stopped: what it says must fit what is there."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from bus.checkpoint import TOTALS, Totals
from bus.ownership import spools
from bus.slots import Slots


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
    damage: tuple[str, ...] = ()

    @property
    def admitted(self) -> int:
        return self.lost + sum(self.dropped.values())

    def problems(self) -> Iterator[str]:
        if self.spools_left:
            yield f"{self.spools_left} spools are left"
        if self.recorded - self.lost != self.appended:
            yield f"ledger: {self.recorded} recorded - {self.lost} lost != {self.appended} in the bus"
        for backend, delivered in self.delivered.items():
            dead, pending = len(self.dead.get(backend, ())), self.open[backend]
            if pending or delivered + dead != self.appended:
                yield (
                    f"ledger of {backend}: {self.appended} in the bus != {delivered} delivered + {dead} dead "
                    f"({pending} pending)"
                )
        yield from self.damage


def read_embedded(data: Path) -> Ledger:
    """Of the embedded log in DATA_DIR, and its spools."""
    totals = _totals(data / "spool")
    with closing(sqlite3.connect(f"file:{data / 'bus.db'}?mode=ro", uri=True)) as log:
        (said,) = log.execute("PRAGMA quick_check").fetchone()
        (last_seq,) = log.execute("SELECT last_seq FROM log").fetchone()
        groups = log.execute("SELECT name, next_seq, delivered FROM groups").fetchall()
        leases = dict(log.execute("SELECT grp, COUNT(*) FROM leases GROUP BY grp").fetchall())
        dead: dict[str, set[str]] = {name: set() for name, _, _ in groups}
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
        open={name: last_seq - next_seq + 1 + leases.get(name, 0) for name, next_seq, _ in groups},
        delivered={name: delivered for name, _, delivered in groups},
        dead=dead,
        damage=() if said == "ok" else (f"bus.db is damaged: {said}",),
    )


def _totals(root: Path) -> Totals:
    slots = Slots.open(root / TOTALS, Totals)
    try:
        return slots.read() or Totals()
    finally:
        slots.close()
