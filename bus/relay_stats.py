"""What the relay tells of itself and of all spools that ever were: one half of the ledger, the bus holds the other."""

import time
from collections.abc import Sequence

from msgspec import Struct

from bus.checkpoint import Totals
from bus.quota import spool_size
from bus.spool_root import add
from bus.tail import Tail


class RelayStats(Struct, frozen=True, kw_only=True):
    spools: int
    segments: int
    bytes: int
    behind_ms: int
    """Age of the oldest event that is read but not in the bus; 0 when there is none."""
    is_bus_away: bool
    appended: int
    """Entries that this process added."""
    rewinds: int
    bus_errors: int
    stopped: dict[str, str]
    """Spools that are not read any more, and why."""
    retired: int
    """From here on figures of all spools that ever were; they survive restarts. Spools that are done and deleted."""
    recorded: int
    """Seqs in the bus: events of workers, interrupted ones, and holes."""
    interrupted: int
    lost: int
    """Holes: frames that damage took."""
    unrecoverable: int
    """Holes: frames that the bus lost after the spool had deleted them."""
    dropped: dict[str, int]
    """Events that found no room, by reason. Not in `recorded`."""
    bodies_dropped: int


def stats_of(
    ever: Totals, tails: Sequence[Tail], *, is_bus_away: bool, appended: int, rewinds: int, bus_errors: int
) -> RelayStats:
    """`ever` holds the totals of the spools that are gone; the living ones are added to it."""
    retired = ever.spools
    for tail in tails:
        add(ever, tail)
    sizes = [spool_size(tail.folder) for tail in tails]
    waiting = [tail.waiting_since_ms for tail in tails if tail.waiting_since_ms]
    return RelayStats(
        spools=len(tails),
        segments=sum(number for number, _ in sizes),
        bytes=sum(size for _, size in sizes),
        behind_ms=max(0, time.time_ns() // 1_000_000 - min(waiting)) if waiting else 0,
        is_bus_away=is_bus_away,
        appended=appended,
        rewinds=rewinds,
        bus_errors=bus_errors,
        stopped={tail.folder.name: tail.stopped_because for tail in tails if tail.stopped_because},
        retired=retired,
        recorded=ever.recorded,
        interrupted=ever.interrupted,
        lost=ever.lost,
        unrecoverable=ever.unrecoverable,
        dropped=ever.dropped,
        bodies_dropped=ever.bodies_dropped,
    )
