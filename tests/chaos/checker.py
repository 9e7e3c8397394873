"""The judge: reads what the round left on the disk, and nothing else, after everything has stopped.

acked, seen ──► each must lie in every backend, or in its dead letters, or be admitted by the ledger as dropped
backends    ──► nothing twice, nothing that nobody sent, no payload but the one that was sent
ledger      ──► recorded = delivered + dead, nothing pending, no spool left
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from msgspec import Struct, field

from tests.chaos import evidence
from tests.chaos.ledger import Ledger
from tests.chaos.sink import LOG

_SHOWN = 5


class Found(Struct):
    """What lies in one backend, as the backend's own storage tells."""

    has_keys: bool = True
    """Whether it keeps each event once. One that only notes what comes sees what the way doubles."""
    copies: Counter[str] = field(default_factory=Counter)
    """Event id to how often it is there."""
    requests: dict[str, str] = field(default_factory=dict)
    """Event id to request id."""
    bodies: dict[str, str] = field(default_factory=dict)
    """Event id to the digest of the request's body, where one is kept."""
    unreadable: int = 0


class BackendVerdict(Struct, frozen=True):
    name: str
    events: int
    dead: int
    lost: tuple[str, ...]
    """Acknowledged to a client, or begun before its eyes, and nowhere to be found."""
    lost_acked: int
    """Those of them that count always; one that was only begun may go when there was no room even for its beginning."""
    visible_duplicates: int
    phantoms: int
    wrong_payloads: int
    wire_duplicates: int = 0
    """Seen on the way to a backend that can tell; its keys make them invisible."""


class Verdict(Struct, frozen=True):
    sent: int
    acked: int
    seen: int
    admitted: int
    bodies_dropped: int
    interrupted: int
    lost: int
    """Acknowledged events that the worst backend lacks, beyond what the ledger admits."""
    backends: tuple[BackendVerdict, ...]
    problems: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return not self.problems


def check(folder: Path, *, ledger: Ledger, database: Path | str, may_drop: bool) -> Verdict:
    """`database` is the SQLite file of the records, or the URL of a PostgreSQL database."""
    sent: dict[str, str] = dict(evidence.pairs(folder, evidence.SENT))
    acked = {reply.event_id for reply in evidence.acked(folder)}
    seen = {event_id for event_id, _ in evidence.pairs(folder, evidence.SEEN)}
    found = {"file": in_files(folder / "out"), "database": in_database(database), "webhook": in_sink(folder / LOG)}
    verdicts = tuple(_judge(name, backend, sent, acked, seen, ledger) for name, backend in found.items())
    problems = [
        *_of_the_backends(verdicts, found, ledger),
        *_of_the_losses(verdicts, acked, len(sent), ledger, may_drop),
        *ledger.problems(),
        *_of_the_dead(folder, ledger),
        *_of_the_files(database),
    ]
    return Verdict(
        sent=len(sent),
        acked=len(acked),
        seen=len(seen),
        admitted=ledger.admitted,
        bodies_dropped=ledger.bodies_dropped,
        interrupted=ledger.interrupted,
        lost=max(0, max(verdict.lost_acked for verdict in verdicts) - (ledger.admitted if may_drop else 0)),
        backends=verdicts,
        problems=tuple(problems),
    )


def _judge(
    name: str, found: Found, sent: Mapping[str, str], acked: set[str], seen: set[str], ledger: Ledger
) -> BackendVerdict:
    dead = ledger.dead.get(name, set())
    doubled = sum(found.copies.values()) - len(found.copies)
    lost = (acked | seen) - found.copies.keys() - dead
    return BackendVerdict(
        name=name,
        events=len(found.copies),
        dead=len(dead),
        lost=tuple(sorted(lost)),
        lost_acked=len(lost & acked),
        visible_duplicates=doubled if found.has_keys else 0,
        wire_duplicates=0 if found.has_keys else doubled,
        phantoms=sum(request_id not in sent for request_id in found.requests.values()),
        wrong_payloads=sum(body != sent.get(found.requests[event_id], body) for event_id, body in found.bodies.items()),
    )


def _of_the_backends(verdicts: tuple[BackendVerdict, ...], found: Mapping[str, Found], ledger: Ledger) -> Iterator[str]:
    for verdict in verdicts:
        backend = found[verdict.name]
        if verdict.visible_duplicates:
            twice = [event_id for event_id, copies in backend.copies.items() if copies > 1]
            yield f"{verdict.name}: {verdict.visible_duplicates} duplicates, such as {twice[:_SHOWN]}"
        if again := [r for r, events in Counter(backend.requests.values()).items() if events > 1]:
            yield f"{verdict.name}: {len(again)} calls with more than one event, such as {again[:_SHOWN]}"
        if verdict.phantoms:
            yield f"{verdict.name}: {verdict.phantoms} events of calls that nobody made"
        if verdict.wrong_payloads:
            yield f"{verdict.name}: {verdict.wrong_payloads} events with another body than was sent"
        if backend.unreadable:
            yield f"{verdict.name}: {backend.unreadable} unreadable lines"
        # Below 0: handed out again as other entries, so that they were counted twice; the ledger says so itself.
        delivered = ledger.delivered.get(verdict.name, 0) + min(0, ledger.earlier.get(verdict.name, 0))
        if delivered != verdict.events and not ledger.forgets:
            yield f"{verdict.name}: the ledger says {delivered} delivered, there are {verdict.events}"


def _of_the_losses(
    verdicts: tuple[BackendVerdict, ...], acked: set[str], sent: int, ledger: Ledger, may_drop: bool
) -> Iterator[str]:
    allowed = ledger.admitted if may_drop else 0
    if ledger.admitted and not may_drop:
        yield f"{ledger.admitted} events dropped, though there was room and no damage"
    for verdict in verdicts:
        if verdict.lost_acked > allowed:
            yield f"{verdict.name}: {verdict.lost_acked} LOST ({allowed} admitted), such as {verdict.lost[:_SHOWN]}"
        if not may_drop and len(verdict.lost) > verdict.lost_acked:
            begun = [event_id for event_id in verdict.lost if event_id not in acked]
            yield f"{verdict.name}: {len(begun)} exchanges begun and not told, such as {begun[:_SHOWN]}"
        if ledger.admitted > sent - verdict.events - verdict.dead:
            yield f"{verdict.name}: more dropped ({ledger.admitted}) than missing ({sent - verdict.events})"


def _of_the_dead(folder: Path, ledger: Ledger) -> Iterator[str]:
    """Exactly the poison is buried."""
    events = {request_id: event_id for event_id, request_id in evidence.pairs(folder, evidence.SEEN)}
    for backend, dead in ledger.dead.items():
        poison = {
            events[request_id] for at, request_id in evidence.all_words(folder / evidence.POISON) if at == backend
        }
        if dead != poison:
            innocent = len(dead - poison)
            yield f"{backend}: {len(dead)} dead letters, {innocent} of them no poison, {len(poison)} were made"


def _of_the_files(database: Path | str) -> Iterator[str]:
    if isinstance(database, Path):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
            (said,) = opened.execute("PRAGMA quick_check").fetchone()
        if said != "ok":
            yield f"{database.name} is damaged: {said}"


def in_files(folder: Path) -> Found:
    found = Found()
    for path in folder.glob("*.jsonl*"):
        with path.open("rb") as file:
            for line in file:
                _read_line(line, found)
    return found


def _read_line(line: bytes, found: Found) -> None:
    try:
        event: dict[str, Any] = msgspec.json.decode(line)
        event_id, metadata = event["event_id"], event["metadata"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        found.unreadable += 1
        return
    found.copies[event_id] += 1
    found.requests[event_id] = metadata["request_id"]
    if "input" in event and metadata["status"] == 200:
        found.bodies[event_id] = evidence.digest(msgspec.json.encode(event["input"]))


_REQUESTS = "SELECT event_id, request_id FROM requests"
_BODIES = (
    "SELECT b.event_id, b.data FROM request_bodies b JOIN requests r ON r.event_id = b.event_id"
    " WHERE b.side = 'request' AND NOT b.truncated AND r.status = 200"
)


def in_sink(path: Path) -> Found:
    found = Found(has_keys=False)
    for event_id, request_id, body, _, _ in evidence.all_words(path):
        found.copies[event_id] += 1
        found.requests[event_id] = request_id
        if body != "-":
            found.bodies[event_id] = body
    return found


def in_database(where: Path | str) -> Found:
    if isinstance(where, Path):
        with closing(sqlite3.connect(f"file:{where}?mode=ro", uri=True)) as database:
            return _in_rows(database.execute(_REQUESTS), database.execute(_BODIES))
    with psycopg.connect(where) as connection:
        return _in_rows(connection.execute(_REQUESTS), connection.execute(_BODIES.encode()))


def _in_rows(requests: Any, bodies: Any) -> Found:
    found = Found()
    for event_id, request_id in requests:
        found.copies[event_id] += 1
        found.requests[event_id] = request_id
    for event_id, body in bodies:
        found.bodies[event_id] = evidence.digest(bytes(body))
    return found
