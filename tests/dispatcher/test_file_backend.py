"""The JSONL file: torn tails, redeliveries, one writer, full disks, rotation, and a loop of kills."""

import asyncio
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.event import Body
from bus.sqlite_log import SqliteLog
from config.ids import new_id
from dispatcher.backends.base import BackendUnavailable, Ok, Retry
from dispatcher.backends.file import FileBackend
from dispatcher.worker import Worker
from tests.dispatcher.scripted import QUICK, at_work, delivered, feed, group_of, make_event
from tests.support.waiting import eventually_async

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
async def backend(path: Path) -> AsyncIterator[FileBackend]:
    opened = FileBackend(path)
    await opened.open()
    yield opened
    await opened.close()


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["event_id"] for line in path.read_bytes().splitlines()]


async def test_each_event_is_a_line_in_order(path: Path, backend: FileBackend) -> None:
    events = [make_event(number) for number in range(5)]

    outcomes = await backend.deliver([delivered(event) for event in events])

    assert outcomes == [Ok()] * 5
    assert ids_in(path) == [event.event_id for event in events]


async def test_a_redelivered_event_is_written_once(path: Path, backend: FileBackend) -> None:
    old, new = make_event(1), make_event(2)
    await backend.deliver([delivered(old)])

    outcomes = await backend.deliver([delivered(old, deliveries=2), delivered(new, deliveries=2)])
    await backend.deliver([delivered(new, deliveries=3)])

    assert outcomes == [Ok()] * 2
    assert ids_in(path) == [old.event_id, new.event_id]


async def test_a_redelivery_after_a_restart_is_found_in_the_file(path: Path, backend: FileBackend) -> None:
    events = [make_event(number, response_body=Body(b"x" * 3_000)) for number in range(1000)]
    await backend.deliver([delivered(event) for event in events])
    await backend.close()
    again = FileBackend(path)

    await again.deliver([delivered(event, deliveries=2) for event in events])

    assert len(ids_in(path)) == 1000
    await again.close()


async def test_an_event_that_a_bus_forgot_and_handed_out_anew_is_written_once(path: Path, backend: FileBackend) -> None:
    """After a failover or a flush the relay sends again what the bus lost: to the bus these are new entries."""
    events = [make_event(number) for number in range(5)]
    await backend.deliver([delivered(event) for event in events])
    path.rename(path.with_suffix(".1"))

    await backend.deliver([delivered(event) for event in [*events, make_event(9)]])

    assert len(ids_in(path)) == 1


async def test_what_is_in_the_file_is_known_after_a_restart(path: Path, backend: FileBackend) -> None:
    events = [make_event(number) for number in range(5)]
    await backend.deliver([delivered(event) for event in events])
    await backend.close()
    again = FileBackend(path)

    await again.deliver([delivered(event) for event in events])

    assert len(ids_in(path)) == 5
    await again.close()


async def test_a_body_cannot_pretend_that_another_event_is_there(path: Path, backend: FileBackend) -> None:
    victim = new_id()
    forged = b'{"event_id":"' + victim.encode() + b'"}'
    for body in (forged, b"\n" + forged, b"[\n" + forged + b"\n]"):
        for kind in ("application/json", "text/plain"):
            await backend.deliver([delivered(make_event(request_body=Body(body, kind)))])

    await backend.deliver([delivered(make_event(event_id=victim), deliveries=2)])

    assert ids_in(path).count(victim) == 1


@pytest.mark.parametrize("keep", [1, 5, 13, 40, 200])
async def test_a_torn_last_line_is_cut_at_open(path: Path, backend: FileBackend, keep: int) -> None:
    first, torn = make_event(1), make_event(2)
    await backend.deliver([delivered(first)])
    whole = path.stat().st_size
    await backend.deliver([delivered(torn)])
    await backend.close()
    os.truncate(path, whole + keep)

    again = FileBackend(path)
    await again.open()
    await again.deliver([delivered(torn, deliveries=2)])

    assert ids_in(path) == [first.event_id, torn.event_id]
    await again.close()


async def test_zeros_that_a_power_loss_left_are_cut(path: Path, backend: FileBackend) -> None:
    await backend.deliver([delivered(make_event(1))])
    await backend.close()
    with path.open("ab") as direct:
        direct.write(b"\0" * 3000)

    again = FileBackend(path)
    await again.deliver([delivered(make_event(2))])

    assert len(ids_in(path)) == 2
    await again.close()


async def test_a_strangers_text_is_never_cut(path: Path) -> None:
    path.write_text("my precious notes, without a line break at the end")
    backend = FileBackend(path)

    await backend.deliver([delivered(make_event())])

    lines = path.read_text().splitlines()
    assert lines[0] == "my precious notes, without a line break at the end"
    assert len(lines) == 2
    await backend.close()


async def test_a_second_writer_is_refused_with_a_reason(path: Path, backend: FileBackend) -> None:
    second = FileBackend(path)

    with pytest.raises(BackendUnavailable, match="another process writes"):
        await second.open()
    (outcome,) = await second.deliver([delivered(make_event())])

    assert isinstance(outcome, Retry)
    assert path.read_bytes() == b""


async def test_the_file_is_taken_over_when_the_other_writer_ends(path: Path) -> None:
    path.touch()
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    backend = FileBackend(path)
    assert isinstance((await backend.deliver([delivered(make_event(1))]))[0], Retry)
    os.close(other)

    assert await backend.deliver([delivered(make_event(1), deliveries=2)]) == [Ok()]
    await backend.close()


async def test_a_path_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")
    backend = FileBackend(tmp_path / "plain" / "events.jsonl")

    with pytest.raises(BackendUnavailable, match="make it writable"):
        await backend.open()
    (outcome,) = await backend.deliver([delivered(make_event())])

    assert isinstance(outcome, Retry)


async def test_a_full_disk_leaves_no_half_line_and_heals(path: Path) -> None:
    """/dev/full refuses every write; a real path takes its place when there is room."""
    path.symlink_to("/dev/full")
    backend = FileBackend(path)
    assert isinstance((await backend.deliver([delivered(make_event(1))]))[0], Retry)
    path.unlink()

    assert await backend.deliver([delivered(make_event(1), deliveries=2)]) == [Ok()]
    assert len(ids_in(path)) == 1
    await backend.close()


def test_a_write_that_ends_in_the_middle_is_taken_back(tmp_path: Path) -> None:
    """The kernel's own limit of a file's size ends a write half-way, as a full disk does."""
    path = tmp_path / "events.jsonl"
    child = subprocess.run(
        [sys.executable, __file__, "limited", str(path)], env=child_environment(), capture_output=True, check=True
    )

    assert child.stdout.split() == [b"Ok", b"Retry"]
    assert len(ids_in(path)) == 1


async def test_a_rotated_file_is_let_go(path: Path, backend: FileBackend) -> None:
    await backend.deliver([delivered(make_event(1))])
    path.rename(path.with_suffix(".1"))

    await backend.deliver([delivered(make_event(2))])

    assert len(ids_in(path)) == 1
    assert len(ids_in(path.with_suffix(".1"))) == 1


async def test_the_file_is_for_its_owner_only(path: Path, backend: FileBackend) -> None:
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.slow
async def test_after_a_loop_of_kills_each_id_is_there_exactly_once(tmp_path: Path, path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "bus.db")
    await log.ensure_groups(["file"])
    events = [make_event(number) for number in range(1500)]
    for start in range(0, len(events), 100):
        await feed(log, events[start : start + 100])
    await log.close()
    dice = random.Random(20261121)

    for _ in range(4):
        deliver_until_killed(tmp_path, path, grow=dice.randint(1, 150_000))
    log = await SqliteLog.open(tmp_path / "bus.db")
    async with at_work(FileBackend(path), log):  # type: ignore[arg-type]

        async def is_all_delivered() -> bool:
            return (await group_of(log, "file")).delivered == len(events)

        await eventually_async(is_all_delivered)
    await log.close()

    assert sorted(ids_in(path)) == sorted(event.event_id for event in events)


def deliver_until_killed(folder: Path, path: Path, *, grow: int) -> None:
    """Kills the child when the file has grown by so many bytes: in the middle of whatever it does then."""
    child = subprocess.Popen([sys.executable, __file__, "deliver", str(folder)], env=child_environment())
    target, deadline = size_of(path) + grow, time.monotonic() + 30
    while child.poll() is None and size_of(path) < target and time.monotonic() < deadline:
        time.sleep(0.0005)
    child.send_signal(signal.SIGKILL)
    child.wait()


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


async def deliver_in_child(folder: Path) -> None:
    log = await SqliteLog.open(folder / "bus.db")
    await Worker(FileBackend(folder / "events.jsonl"), log, "c", QUICK, asyncio.Event()).run()


async def write_under_a_limit(path: Path) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    backend = FileBackend(path)
    for size in (10, 4000):
        body = Body(b"x" * size, "text/plain")
        (outcome,) = await backend.deliver([delivered(make_event(response_body=body))])
        print(type(outcome).__name__)
    await backend.close()


if __name__ == "__main__":
    act = {"deliver": deliver_in_child, "limited": write_under_a_limit}[sys.argv[1]]
    asyncio.run(act(Path(sys.argv[2])))
