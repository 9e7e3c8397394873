"""Backends that are away, locked, slow, or cannot be written."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg

from tests.chaos.fault import kind
from tests.chaos.processes import freeze, kill
from tests.chaos.stage import Stage
from tests.support.waiting import eventually


@kind("embedded", "small-disks", lasts_s=(0.5, 3.0))
def lock_records(stage: Stage, dice: Random) -> Iterator[None]:
    """Another program holds the file's write lock."""
    other = sqlite3.connect(stage.disks.databases / "records.db", timeout=60, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


@kind("embedded", "small-disks", lasts_s=(1.0, 2.0))
def slow_records(stage: Stage, dice: Random) -> Iterator[None]:
    """The lock comes and goes, so that some deliveries are in time and some are not."""
    other = sqlite3.connect(stage.disks.databases / "records.db", timeout=60, isolation_level=None)

    def lock_or_let_go() -> None:
        if other.in_transaction:
            other.execute("ROLLBACK")
        elif dice.random() < 0.5:
            other.execute("BEGIN IMMEDIATE")

    try:
        with stage.ticking(lock_or_let_go):
            yield
    finally:
        other.close()


@kind("embedded", "small-disks", lasts_s=(0.3, 1.5))
def lock_main_database(stage: Stage, dice: Random) -> Iterator[None]:
    """Tokens cannot be counted; known ones go on, and recording has a file of its own."""
    other = sqlite3.connect(stage.disks.databases / "llm-proxy.db", timeout=60, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


@kind(lasts_s=(0.5, 2.0))
def event_file_unwritable(stage: Stage, dice: Random) -> Iterator[None]:
    """Its folder is gone, and in its place is something that is no folder.

    Both changes are one step each: the backend makes a folder that is missing, and would write where nobody looks.
    """
    folder, no_folder = stage.out.readlink(), stage.out.with_name("no-folder")
    no_folder.touch()
    _point(stage.out, no_folder)
    try:
        yield
    finally:
        _point(stage.out, folder)


def _point(link: Path, target: Path) -> None:
    fresh = link.with_name(f"{link.name}.fresh")
    fresh.symlink_to(target)
    fresh.replace(link)


@kind(alone=True)
def rotate_event_file(stage: Stage, dice: Random) -> Iterator[None]:
    """As logrotate does, under load."""
    path = stage.out / "events.jsonl"
    if path.exists():
        path.rename(stage.out / f"events.jsonl.{dice.randrange(10**9)}")
    yield


@kind(alone=True)
def tear_event_file(stage: Stage, dice: Random) -> Iterator[None]:
    """Who writes it dies in the middle of a line; the supervisor is held back until the line is torn."""
    supervisor = stage.running.pid
    freeze([supervisor], is_frozen=True)
    try:
        kill(stage.pid(stage.deliverer))
        with (stage.out / "events.jsonl").open("ab") as file:
            file.write(b'{"event_id":"00000000-0000-7000-8000-000000000000","type":"ll')
    finally:
        freeze([supervisor], is_frozen=False)
    yield
    eventually(lambda: stage.stats())


@kind("postgres", lasts_s=(0.5, 2.0))
def stop_postgres(stage: Stage, dice: Random) -> Iterator[None]:
    assert stage.postgres
    stage.postgres.stop()
    yield
    stage.postgres.start()


@kind("postgres", lasts_s=(0.5, 3.0))
def freeze_postgres(stage: Stage, dice: Random) -> Iterator[None]:
    """It neither answers nor hangs up."""
    assert stage.postgres
    try:
        stage.postgres.freeze(is_frozen=True)
        yield
    finally:
        stage.postgres.freeze(is_frozen=False)


@kind("postgres", lasts_s=(0.5, 2.0), alone=True)
def lock_requests_table(stage: Stage, dice: Random) -> Iterator[None]:
    """An operator's ALTER TABLE that takes its time."""
    with psycopg.connect(stage.database_url) as other:
        other.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


@kind("postgres", lasts_s=(0.1, 0.3))
def texts_that_postgres_cannot_hold(stage: Stage, dice: Random) -> Iterator[None]:
    """NUL in a text column: such an event is delivered like any other, and takes none along."""
    for _ in range(3):
        stage.call(model="nul\0inside")
    yield
