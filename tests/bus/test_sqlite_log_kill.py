"""The embedded log under kill -9: a real process appends, reads and acknowledges until it is killed, over and over."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bus.bus import Entry
from bus.sqlite_log import SqliteLog

SPOOL = b"the-spool"
ROUNDS = 6
ROOT = Path(__file__).parents[2]


def event_id(number: int) -> bytes:
    return f"{number:016d}".encode()


async def append_read_and_ack(path: Path, report: int) -> None:
    """Runs in the child. Writes `a <high water>` after an append and `d <number>` before an acknowledgement."""
    log = await SqliteLog.open(path)
    await log.ensure_groups(["file"])
    high_water = (await log.append(SPOOL, 1, 0, [])).high_water
    while True:
        first = high_water + 1
        batch = [Entry(event_id(number), os.urandom(500)) for number in range(first, first + 20)]
        high_water = (await log.append(SPOOL, 1, first, batch)).high_water
        os.write(report, f"a {high_water}\n".encode())
        got = await log.claim("file", "c", min_idle_ms=60_000, max_entries=50)
        got += await log.read("file", "c", max_entries=15, max_bytes=10**6, block_ms=0)
        os.write(report, b"".join(b"d %d\n" % int(delivery.event_id) for delivery in got))
        await log.ack("file", [delivery.key for delivery in got])
        await log.trim()


def run_until_killed(path: Path, dice: random.Random) -> tuple[int, set[int]]:
    """Highest number whose append was acknowledged, and the numbers that were delivered."""
    child = subprocess.Popen(
        [sys.executable, __file__, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(dice.randint(1, 400))]
    child.send_signal(signal.SIGKILL)
    lines += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    words = [line.split() for line in lines if line.endswith(b"\n")]
    appended = [int(number) for kind, number in words if kind == b"a"]
    return max(appended, default=-1), {int(number) for kind, number in words if kind == b"d"}


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_over_many_kills(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    dice = random.Random(20261121)
    appended, delivered = -1, set[int]()

    for _ in range(ROUNDS):
        high, sent = run_until_killed(path, dice)
        appended, delivered = max(appended, high), delivered | sent
        with sqlite3.connect(path) as direct:
            assert direct.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        direct.close()
    rest = asyncio.run(drain(path))

    assert appended > 0
    assert set(range(appended + 1)) - delivered - set(rest) == set()
    assert len(rest) == len(set(rest))


async def drain(path: Path) -> list[int]:
    log = await SqliteLog.open(path)
    numbers = []
    while True:
        got = await log.claim("file", "last", min_idle_ms=60_000, max_entries=100)
        got += await log.read("file", "last", max_entries=100, max_bytes=10**6, block_ms=0)
        if not got:
            break
        numbers += [int(delivery.event_id) for delivery in got]
        await log.ack("file", [delivery.key for delivery in got])
    stats = await log.stats()
    assert [(g.delivered, g.pending, g.lag) for g in stats.groups] == [(stats.appended, 0, 0)]
    await log.close()
    return numbers


if __name__ == "__main__":
    asyncio.run(append_read_and_ack(Path(sys.argv[1]), sys.stdout.fileno()))
