"""What the embedded log knows of parking lots, one function per verb, each inside one transaction.

What comes back lies as a replayed letter does, with a negative seq and a lease of its group that is due.
"""

import sqlite3
from collections.abc import Sequence

from bus.lots import LotMarks, LotPlace, Parked
from bus.sqlite_letters import next_returned


def park(on: sqlite3.Connection, group: str, keys: Sequence[str]) -> None:
    done = on.executemany("DELETE FROM leases WHERE grp = ? AND seq = ?", [(group, int(key)) for key in keys])
    on.execute("UPDATE groups SET earlier = earlier + ? WHERE name = ?", (max(0, done.rowcount), group))


def unpark(
    on: sqlite3.Connection,
    now_ms: int,
    group: str,
    lot: bytes,
    place: LotPlace,
    events: Sequence[Parked],
    room: int,
) -> LotMarks:
    """`now_ms` as leases have it. A lot that the log does not know is one of a log that was lost: nothing of it is."""
    row = on.execute("SELECT counted, returned FROM lots WHERE grp = ? AND lot = ?", (group, lot)).fetchone()
    was_counted, was_returned = row or (0, 0)
    counted, returned = max(was_counted, place.holds), max(was_returned, place.settled)
    earlier = returned - was_returned - (counted - was_counted)
    came = events[returned - place.next :] if place.next <= returned else ()
    came = came[: max(0, room - _waiting(on, group))]
    for number, event in enumerate(came, returned):
        if event.payload:
            _give_back(on, now_ms, group, lot, number, event)
    lost = sum(not event.payload for event in came)
    returned += len(came)
    on.execute(
        "UPDATE groups SET parked = parked + ?, earlier = earlier + ?, lost = lost + ? WHERE name = ?",
        (-earlier - len(came), earlier, lost, group),
    )
    on.execute("INSERT OR REPLACE INTO lots VALUES (?, ?, ?, ?)", (group, lot, counted, returned))
    (first_open,) = on.execute("SELECT MIN(number) FROM events WHERE lot = ?", (lot,)).fetchone()
    return LotMarks(counted, returned, returned if first_open is None else first_open)


def end(on: sqlite3.Connection, group: str, lot: bytes) -> None:
    on.execute("DELETE FROM lots WHERE grp = ? AND lot = ?", (group, lot))


def _waiting(on: sqlite3.Connection, group: str) -> int:
    (count,) = on.execute("SELECT COUNT(*) FROM leases WHERE grp = ? AND seq < 0", (group,)).fetchone()
    return int(count)


def _give_back(on: sqlite3.Connection, now_ms: int, group: str, lot: bytes, number: int, event: Parked) -> None:
    again = next_returned(on)
    on.execute(
        "INSERT INTO events (seq, event_id, at_ms, payload, lot, number) VALUES (?, ?, ?, ?, ?, ?)",
        (again, event.event_id, event.at_ms, event.payload, lot, number),
    )
    on.execute(
        "INSERT INTO leases (grp, seq, consumer, is_out, at_ms, deliveries, unsettled) VALUES (?, ?, '', 0, ?, 0, 0)",
        (group, again, now_ms),
    )
    on.execute("UPDATE log SET returned = returned + 1, entries = entries + 1, bytes = bytes + ?", [len(event.payload)])
