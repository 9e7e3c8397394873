"""What has come to the backends so far, looked up while a round runs; the checker reads for itself later.

Only recovery times depend on it: how long after the healing everything that was acknowledged before has arrived.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import psycopg

from tests.chaos.evidence import ACKED, Tail

_ID = re.compile(rb'^\{"event_id":"([^"]+)"')
_IDS_AT_ONCE = 500


class Arrivals(Protocol):
    def of(self, wanted: set[str]) -> set[str]:
        """Those of the wanted events that are there."""
        ...


class FileArrivals:
    """The JSONL file and its rotated ones, each read once, by inode."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[int, Tail] = {}
        self._arrived: set[str] = set()

    def of(self, wanted: set[str]) -> set[str]:
        for path in sorted(self._folder.glob("*.jsonl*")) if self._folder.is_dir() else ():
            tail = self._tails.setdefault(path.stat().st_ino, Tail(path))
            tail.path = path
            self._arrived |= {found[1].decode() for line in tail.lines() if (found := _ID.match(line))}
        return wanted & self._arrived


class SinkArrivals:
    """What the webhook's receiver has noted."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._arrived: set[str] = set()

    def of(self, wanted: set[str]) -> set[str]:
        self._arrived |= {line.split(b" ", 1)[0].decode() for line in self._tail.lines()}
        return wanted & self._arrived


class DatabaseArrivals:
    def __init__(self, where: Path | str) -> None:
        """A SQLite file, or the URL of a PostgreSQL database."""
        self._where = where

    def of(self, wanted: set[str]) -> set[str]:
        arrived: set[str] = set()
        try:
            for ids in _chunks(sorted(wanted)):
                arrived |= self._asked(ids)
        except (sqlite3.Error, psycopg.Error):
            pass  # away or locked: what has arrived shows later
        return arrived

    def _asked(self, ids: Sequence[str]) -> set[str]:
        if isinstance(self._where, Path):
            marks = ",".join("?" * len(ids))
            with closing(sqlite3.connect(f"file:{self._where}?mode=ro", uri=True, timeout=1)) as database:
                rows = database.execute(f"SELECT event_id FROM requests WHERE event_id IN ({marks})", ids).fetchall()
        else:
            with psycopg.connect(self._where, connect_timeout=2) as connection:
                query = "SELECT event_id FROM requests WHERE event_id = ANY(%s)"
                rows = connection.execute(query, (list(ids),)).fetchall()
        return {row[0] for row in rows}


class Outstanding:
    """Acknowledged events that a backend does not have yet."""

    def __init__(self, folder: Path, arrivals: dict[str, Arrivals]) -> None:
        self._tails = [Tail(folder / f"{who}.{ACKED}.log") for who in ("load", "nemesis")]
        self._arrivals = arrivals
        self._open: dict[str, set[str]] = {backend: set() for backend in arrivals}
        self._excused: dict[str, set[str]] = {backend: set() for backend in arrivals}
        self.acked = 0

    def excuse(self, backend: str, event_id: str) -> None:
        """This one will be buried there."""
        self._excused[backend].add(event_id)

    def look(self) -> dict[str, int]:
        """How many there are per backend, now."""
        new = {line.split(b" ", 1)[0].decode() for tail in self._tails for line in tail.lines()}
        self.acked += len(new)
        for backend, arrivals in self._arrivals.items():
            self._open[backend] |= new
            self._open[backend] -= arrivals.of(self._open[backend]) | self._excused[backend]
        return {backend: len(missing) for backend, missing in self._open.items()}

    def until_now(self) -> dict[str, set[str]]:
        """Those acknowledged so far, to be waited for."""
        self.look()
        return {backend: set(missing) for backend, missing in self._open.items()}

    def still_missing(self, wanted: dict[str, set[str]]) -> int:
        """The most that any backend lacks of them."""
        self.look()
        return max((len(ids & self._open[backend]) for backend, ids in wanted.items()), default=0)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + _IDS_AT_ONCE] for at in range(0, len(ids), _IDS_AT_ONCE))
