"""What the embedded log does inside one transaction, one function per verb of the Bus protocol.

Everything here is synchronous and runs on the log's own thread, between BEGIN IMMEDIATE and COMMIT. Times of leases
are monotonic milliseconds of this process: no lease outlives the process that holds the file. What is done to a batch
is one statement where it can be: at each of them Python's lock changes hands.
"""

import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from bus.bus import SUSPECT_AFTER, AppendResult, AppendStatus, BusStats, Delivery, Entry, GroupStats
from bus.sqlite_letters import drop_returned

TRIM_CHUNK: Final = 5_000  # entries deleted per transaction: a few milliseconds, so that appends never wait long
_VACUUM_PAGES: Final = 256  # 4 MiB: about ten milliseconds
_SPARE_PAGES: Final = 4_096  # 64 MiB of free pages are kept, appends use them again
_LONG_AGO: Final = -(10**15)


def append(
    on: sqlite3.Connection, now_ms: int, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]
) -> AppendResult:
    row = on.execute("SELECT epoch, high_water FROM producers WHERE spool = ?", (spool,)).fetchone()
    known_epoch, high_water = row or (0, -1)
    if epoch < known_epoch:
        return AppendResult(AppendStatus.FENCED, known_epoch, high_water)
    if first_seq > high_water + 1:
        return AppendResult(AppendStatus.GAP, known_epoch, high_water)
    fresh = entries[high_water + 1 - first_seq :]
    added = 0
    for spool_seq, run in _runs(fresh, high_water + 1):
        _insert(on, now_ms, spool, spool_seq, run)
        added += len(run)
    if fresh or epoch > known_epoch or row is None:
        high_water += len(fresh)
        on.execute("INSERT OR REPLACE INTO producers VALUES (?, ?, ?)", (spool, epoch, high_water))
    return AppendResult(AppendStatus.OK, epoch, high_water, added=added)


def _runs(fresh: Sequence[Entry], spool_seq: int) -> Iterator[tuple[int, list[Entry]]]:
    """Entries without holes between them, with the spool's seq of each run's first.

    An empty payload is a hole: a frame that damage took. It moves the high water and is stored nowhere.
    """
    for is_hole, run in itertools.groupby(enumerate(fresh, spool_seq), key=lambda numbered: not numbered[1].payload):
        if not is_hole:
            numbered = list(run)
            yield numbered[0][0], [entry for _, entry in numbered]


def _insert(on: sqlite3.Connection, now_ms: int, spool: bytes, spool_seq: int, fresh: Sequence[Entry]) -> None:
    (last_seq,) = on.execute("SELECT last_seq FROM log").fetchone()
    first, last = last_seq + 1, last_seq + len(fresh)
    on.executemany(
        "INSERT INTO events (seq, event_id, at_ms, payload) VALUES (?, ?, ?, ?)",
        [(seq, entry.event_id, now_ms, entry.payload) for seq, entry in enumerate(fresh, first)],
    )
    on.execute("INSERT INTO spans VALUES (?, ?, ?, ?)", (spool, first, last, spool_seq))
    size = sum(len(entry.payload) for entry in fresh)
    on.execute("UPDATE log SET last_seq = ?, entries = entries + ?, bytes = bytes + ?", (last, len(fresh), size))


def ensure_groups(on: sqlite3.Connection, names: Sequence[str]) -> None:
    """A new group begins at the oldest entry that is still there."""
    on.executemany(
        "INSERT INTO groups (name, next_seq, delivered, dead, earlier)"
        " SELECT ?, first, 0, 0, first - 1 FROM"
        " (SELECT COALESCE((SELECT MIN(seq) FROM events WHERE seq > 0), (SELECT last_seq + 1 FROM log)) AS first)"
        " WHERE TRUE"
        " ON CONFLICT (name) DO NOTHING",
        [(name,) for name in names],
    )


def release_all(on: sqlite3.Connection) -> None:
    """At open: whoever held a lease is dead, since the file has one opener. All are due at once."""
    on.execute("UPDATE leases SET at_ms = ?", (_LONG_AGO,))


def read(
    on: sqlite3.Connection, now_ms: int, group: str, consumer: str, max_entries: int, max_bytes: int
) -> list[Delivery]:
    row = on.execute("SELECT next_seq FROM groups WHERE name = ?", (group,)).fetchone()
    if row is None:
        return []
    cursor = on.execute(
        "SELECT seq, event_id, payload FROM events WHERE seq >= ? ORDER BY seq LIMIT ?", (row[0], max_entries)
    )
    taken: list[Delivery] = []
    size = 0
    for seq, event_id, payload in cursor:
        size += len(payload)
        if taken and size > max_bytes:
            break
        taken.append(Delivery(str(seq), event_id, 1, payload))
    if taken:
        first, last = int(taken[0].key), int(taken[-1].key)
        on.execute(
            "INSERT INTO leases (grp, seq, consumer, is_out, at_ms, deliveries, unsettled)"
            " SELECT ?, seq, ?, 1, ?, 1, 1 FROM events WHERE seq BETWEEN ? AND ?",
            (group, consumer, now_ms, first, last),
        )
        on.execute("UPDATE groups SET next_seq = ? WHERE name = ?", (last + 1, group))
    return taken


def claim(
    on: sqlite3.Connection, now_ms: int, group: str, consumer: str, min_idle_ms: int, max_entries: int, max_bytes: int
) -> list[Delivery]:
    """Due entries in order of the log; a suspect only when nothing else is due, and then alone."""
    due = on.execute(
        "SELECT seq, deliveries, unsettled FROM leases"
        " WHERE grp = :grp AND at_ms <= CASE is_out WHEN 1 THEN :now - :idle ELSE :now END"
        " ORDER BY unsettled >= :suspect, seq LIMIT :limit",
        {"grp": group, "now": now_ms, "idle": min_idle_ms, "suspect": SUSPECT_AFTER, "limit": max_entries},
    ).fetchall()
    healthy = [row for row in due if row[2] < SUSPECT_AFTER]
    taken: list[Delivery] = []
    size = 0
    for seq, deliveries, unsettled in healthy or due[:1]:
        event_id, payload = on.execute("SELECT event_id, payload FROM events WHERE seq = ?", (seq,)).fetchone()
        size += len(payload)
        if taken and size > max_bytes:
            break
        taken.append(Delivery(str(seq), event_id, deliveries + 1, payload, unsettled, is_returned=seq < 0))
    on.executemany(
        "UPDATE leases SET consumer = ?, is_out = 1, at_ms = ?, deliveries = deliveries + 1, unsettled = unsettled + 1"
        " WHERE grp = ? AND seq = ?",
        [(consumer, now_ms, group, int(d.key)) for d in taken],
    )
    return taken


def extend(on: sqlite3.Connection, now_ms: int, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
    kept = set()
    for key in keys:
        done = on.execute(
            "UPDATE leases SET at_ms = ? WHERE grp = ? AND seq = ? AND consumer = ? AND is_out = 1",
            (now_ms, group, int(key), consumer),
        )
        if done.rowcount:
            kept.add(key)
    return kept


def ack(on: sqlite3.Connection, group: str, keys: Sequence[str]) -> None:
    """Not fenced by owner: what has been delivered has been delivered, whoever did it. Twice counts once."""
    seqs = [int(key) for key in keys]
    done = on.execute(
        "DELETE FROM leases WHERE grp = ? AND seq IN (SELECT value FROM json_each(?))", (group, json.dumps(seqs))
    )
    on.execute("UPDATE groups SET delivered = delivered + ? WHERE name = ?", (max(0, done.rowcount), group))
    drop_returned(on, seqs)


def retry_in(on: sqlite3.Connection, due_ms: int, group: str, consumer: str, keys: Sequence[str]) -> None:
    on.executemany(
        "UPDATE leases SET is_out = 0, at_ms = ?, unsettled = 0"
        " WHERE grp = ? AND seq = ? AND consumer = ? AND is_out = 1",
        [(due_ms, group, int(key), consumer) for key in keys],
    )


def dead_letter(
    on: sqlite3.Connection, wall_ms: int, group: str, consumer: str, key: str, reason: str, detail: str
) -> bool:
    done = on.execute(
        "INSERT INTO dead_letters"
        " (grp, seq, event_id, reason, detail, deliveries, appended_at_ms, dead_at_ms, payload)"
        " SELECT leases.grp, leases.seq, event_id, ?, ?, deliveries, events.at_ms, ?, payload"
        " FROM leases JOIN events ON events.seq = leases.seq"
        " WHERE leases.grp = ? AND leases.seq = ? AND consumer = ? AND is_out = 1",
        (reason, detail, wall_ms, group, int(key), consumer),
    )
    if not done.rowcount:
        return False
    on.execute("DELETE FROM leases WHERE grp = ? AND seq = ?", (group, int(key)))
    drop_returned(on, [int(key)])
    on.execute("UPDATE groups SET dead = dead + 1 WHERE name = ?", (group,))
    return True


def trim(on: sqlite3.Connection) -> int:
    """At most TRIM_CHUNK entries below the watermark."""
    (oldest,) = on.execute("SELECT MIN(seq) FROM events WHERE seq > 0").fetchone()
    below = min(watermark(on), (oldest or 0) + TRIM_CHUNK)
    if oldest is None or below <= oldest:
        return 0
    count, size = on.execute(
        "SELECT COUNT(*), SUM(LENGTH(payload)) FROM events WHERE seq > 0 AND seq < ?", (below,)
    ).fetchone()
    on.execute("DELETE FROM events WHERE seq > 0 AND seq < ?", (below,))
    on.execute("DELETE FROM spans WHERE last_seq < ?", (below,))
    on.execute("UPDATE log SET entries = entries - ?, bytes = bytes - ?", (count, size))
    return int(count)


def give_pages_back(on: sqlite3.Connection) -> bool:
    """Shrinks the file by one step, outside of a transaction; False when there is nothing to give."""
    (free,) = on.execute("PRAGMA freelist_count").fetchone()
    if free <= _SPARE_PAGES:
        return False
    on.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()  # it frees one page per fetched row
    return True


def watermark(on: sqlite3.Connection) -> int:
    """All entries below are acknowledged by every group; 0 while there is no group."""
    (mark,) = on.execute(
        "SELECT MIN(COALESCE((SELECT MIN(seq) FROM leases WHERE grp = name AND seq > 0), next_seq)) FROM groups"
    ).fetchone()
    return int(mark or 0)


def delivered_through(on: sqlite3.Connection, spool: bytes) -> int:
    """The first span that reaches above the watermark tells where the spool's open part begins."""
    mark = watermark(on)
    span = on.execute(
        "SELECT first_seq, first_spool_seq FROM spans WHERE spool = ? AND last_seq >= ? ORDER BY first_seq LIMIT 1",
        (spool, mark),
    ).fetchone()
    if span is not None:
        return int(span[1] + max(0, mark - span[0]) - 1)
    row = on.execute("SELECT high_water FROM producers WHERE spool = ?", (spool,)).fetchone()
    return int(row[0]) if row and mark else -1


def retire(on: sqlite3.Connection, spool: bytes) -> None:
    """Its spans go with the entries that they describe."""
    on.execute("DELETE FROM producers WHERE spool = ?", (spool,))


def stats(on: sqlite3.Connection, wall_ms: int) -> BusStats:
    last_seq, entries, size = on.execute("SELECT last_seq, entries, bytes FROM log").fetchone()
    rows = on.execute(
        "SELECT name, next_seq, delivered, dead, purged, earlier, parked, lost,"
        " (SELECT COUNT(*) FROM leases WHERE grp = name), (SELECT MIN(seq) FROM leases WHERE grp = name)"
        " FROM groups ORDER BY name"
    ).fetchall()
    groups = []
    for name, next_seq, delivered, dead, purged, earlier, parked, lost, pending, oldest_leased in rows:
        oldest = on.execute("SELECT at_ms FROM events WHERE seq = ?", (oldest_leased or next_seq,)).fetchone()
        age = max(0, wall_ms - oldest[0]) if oldest else 0
        lag = last_seq - next_seq + 1
        groups.append(GroupStats(name, pending, lag, age, dead, delivered, purged, earlier, parked, lost))
    return BusStats(entries, size, last_seq, tuple(groups))
