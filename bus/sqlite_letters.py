"""Dead letters of the embedded log, one function per verb, each inside one transaction.

A replayed event becomes an entry with a negative seq, which no group reads, and a lease of its own group on it, which
is due: `claim` hands it out like any retry. The entry goes with its lease.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from bus.dead_letters import Letter, LetterPage, OpenedLetter, event_id_text

_PAGE: Final = (
    "SELECT seq, event_id, reason, detail, deliveries, appended_at_ms, dead_at_ms, LENGTH(payload) FROM dead_letters"
    " WHERE grp = :grp AND (dead_at_ms, seq) < (:at_ms, :seq) AND (:reason = '' OR reason = :reason)"
    " ORDER BY dead_at_ms DESC, seq DESC LIMIT :limit"
)
_ONE: Final = (
    "SELECT seq, event_id, reason, detail, deliveries, appended_at_ms, dead_at_ms, LENGTH(payload), payload"
    " FROM dead_letters WHERE grp = ? AND seq = ?"
)
_LATEST: Final = 2**62
_BELOW: Final = 10**15


def letters(on: sqlite3.Connection, group: str, reason: str, before: str, limit: int) -> LetterPage:
    at, _, letter_id = before.partition(":")
    wanted = {"at_ms": _number(at) if at else _LATEST, "seq": _number(letter_id), "reason": reason, "limit": limit}
    found = tuple(_letter(row) for row in on.execute(_PAGE, {"grp": group, **wanted}).fetchall())
    return LetterPage(found, f"{found[-1].last_ms}:{found[-1].id}" if len(found) == limit else "")


def letter(on: sqlite3.Connection, group: str, letter_id: str) -> OpenedLetter | None:
    row = on.execute(_ONE, (group, _number(letter_id))).fetchone()
    return OpenedLetter(_letter(row[:-1]), row[-1]) if row else None


def replay(on: sqlite3.Connection, now_ms: int, group: str, ids: Sequence[str]) -> int:
    """`now_ms` as leases have it."""
    count = sum(_replay_one(on, now_ms, group, _number(letter_id)) for letter_id in ids)
    on.execute("UPDATE groups SET dead = dead - ? WHERE name = ?", (count, group))
    return count


def _replay_one(on: sqlite3.Connection, now_ms: int, group: str, seq: int) -> bool:
    again = next_returned(on)
    sizes = on.execute(
        "INSERT INTO events (seq, event_id, at_ms, payload)"
        " SELECT ?, event_id, appended_at_ms, payload FROM dead_letters WHERE grp = ? AND seq = ?"
        " RETURNING LENGTH(payload)",
        (again, group, seq),
    ).fetchall()
    if not sizes:
        return False
    on.execute(
        "INSERT INTO leases (grp, seq, consumer, is_out, at_ms, deliveries, unsettled) VALUES (?, ?, '', 0, ?, 0, 0)",
        (group, again, now_ms),
    )
    on.execute("DELETE FROM dead_letters WHERE grp = ? AND seq = ?", (group, seq))
    on.execute("UPDATE log SET returned = returned + 1, entries = entries + 1, bytes = bytes + ?", sizes[0])
    return True


def purge(on: sqlite3.Connection, group: str, ids: Sequence[str]) -> int:
    done = on.executemany(
        "DELETE FROM dead_letters WHERE grp = ? AND seq = ?", [(group, _number(letter_id)) for letter_id in ids]
    )
    count = max(0, done.rowcount)
    on.execute("UPDATE groups SET dead = dead - :n, purged = purged + :n WHERE name = :grp", {"n": count, "grp": group})
    return count


def forget_group(on: sqlite3.Connection, group: str) -> bool:
    returned = on.execute("SELECT seq FROM leases WHERE grp = ? AND seq < 0", (group,)).fetchall()
    drop_returned(on, [seq for (seq,) in returned])
    on.execute("DELETE FROM leases WHERE grp = ?", (group,))
    on.execute("DELETE FROM dead_letters WHERE grp = ?", (group,))
    on.execute("DELETE FROM lots WHERE grp = ?", (group,))
    return on.execute("DELETE FROM groups WHERE name = ?", (group,)).rowcount > 0


def next_returned(on: sqlite3.Connection) -> int:
    """The seq of an entry that is given back to one group: below 0, and rising, so that what came first is first."""
    (returned,) = on.execute("SELECT returned FROM log").fetchone()
    return int(returned) - _BELOW


def drop_returned(on: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Entries of replayed events go as soon as their one group is done with them."""
    for seq in seqs:
        if seq < 0:
            for (size,) in on.execute("DELETE FROM events WHERE seq = ? RETURNING LENGTH(payload)", (seq,)).fetchall():
                on.execute("UPDATE log SET entries = entries - 1, bytes = bytes - ?", (size,))


def _letter(row: tuple[Any, ...]) -> Letter:
    seq, event_id, *rest = row
    return Letter(str(seq), event_id_text(event_id), *rest)


def _number(text: str) -> int:
    """0, which no letter has, for what is no number of ours."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0
