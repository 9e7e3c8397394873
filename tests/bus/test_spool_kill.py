"""Real writers under kill -9: what `finish` returned for is never lost, what was open is told, nothing is doubled."""

import asyncio
import contextlib
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from bus.codec import decode_finished
from bus.relay import Relay
from config.ids import id_bytes, id_text
from tests.support.spools import MemoryBus
from tests.support.waiting import until

KILLS = 8


async def write_and_die(root: Path, record: str, after: int) -> dict[str, list[str]]:
    """What the writer said before it was killed, after about that many lines."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.spool_writer", root, record, "65536", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    said: dict[str, list[str]] = {"spool": [], "began": [], "finished": []}
    try:
        for _ in range(after):
            verb, what = (await process.stdout.readline()).decode().split()
            said[verb].append(what)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    for line in (await process.stdout.read()).decode().splitlines(keepends=True):
        if line.endswith("\n"):
            verb, what = line.split()
            said[verb].append(what)
    await process.wait()
    return said


@pytest.mark.slow
@pytest.mark.parametrize("record", ["os", "disk"])
async def test_no_finished_event_is_lost_by_kill_9_and_open_ones_are_interrupted(tmp_path: Path, record: str) -> None:
    chance = random.Random(7)
    bus, root = MemoryBus(), tmp_path / "spool"
    relay = Relay(root, bus, retain="replicated", poll_ms=5, upkeep_ms=50, backoff_ms=1, backoff_max_ms=5)
    running = asyncio.create_task(relay.run(), name="relay")
    said: dict[str, list[str]] = {"spool": [], "began": [], "finished": []}
    for _ in range(KILLS // 2):
        bus.faults = chance.choices(["", "", "unknown", "refused"], k=20)
        for one in await asyncio.gather(
            *(write_and_die(root, record, chance.randrange(2, 600 if record == "os" else 100)) for _ in range(2))
        ):
            for verb, what in one.items():
                said[verb] += what
    # The bus hears of a retirement before the folder goes, so that a death in between is repeated and not forgotten.
    await until(lambda: len(bus.now.retired) == KILLS and not any(root.glob("*/")))
    running.cancel()
    await asyncio.wait([running])
    relay.close()

    ended = {id_bytes(what) for what in said["finished"]}
    times = Counter(bus.event_ids())
    interrupted = {e for _, _, e, payload in bus.now.stream if decode_finished(payload).cut == "interrupted"}
    assert len(said["spool"]) == KILLS
    assert len(ended) > KILLS
    assert {id_bytes(what) for what in said["began"]} <= set(times), "an exchange has no event"
    assert set(times.values()) == {1}, "doubled"
    assert not interrupted & ended, [id_text(raw) for raw in interrupted & ended]
    assert len(set(times) - ended) <= KILLS, "at most one exchange was open in each"
    assert not any(path.is_dir() for path in root.iterdir())


async def test_record_async_loses_at_most_what_was_in_its_queue_and_tells_of_it(tmp_path: Path) -> None:
    bus, root = MemoryBus(), tmp_path / "spool"
    said = await write_and_die(root, "async", 3000)
    relay = Relay(root, bus, retain="replicated", poll_ms=5)
    assert await relay.drain(10) == 0
    relay.close()

    recorded = [id_text(raw) for raw in bus.event_ids()]
    assert len(recorded) > 100
    assert set(recorded) <= set(said["began"]) | {recorded[-1]}
    assert recorded == said["began"][: len(recorded)] or recorded[:-1] == said["began"][: len(recorded) - 1]
