"""Spool, relay and the embedded log together: the way an event takes on one host."""

import asyncio
from pathlib import Path

from bus.codec import decode_finished
from bus.relay import Relay
from bus.sqlite_log import SqliteLog
from config.ids import id_bytes, new_id
from tests.support.spools import began, finished, open_spool
from tests.support.waiting import until


def relay_of(root: Path, bus: SqliteLog) -> Relay:
    return Relay(root, bus, retain="delivered", poll_ms=5, upkeep_ms=20)


async def delivered_ids(bus: SqliteLog, group: str) -> list[bytes]:
    """Reads and acknowledges all there is."""
    found: list[bytes] = []
    while deliveries := await bus.read(group, "c", max_entries=1000, max_bytes=1 << 26, block_ms=0):
        found += [delivery.event_id for delivery in deliveries]
        await bus.ack(group, [delivery.key for delivery in deliveries])
    return found


async def test_segments_go_when_all_groups_have_acknowledged_and_interrupted_events_come_too(tmp_path: Path) -> None:
    bus = await SqliteLog.open(tmp_path / "bus.db")
    await bus.ensure_groups(["fast", "slow"])
    spool, root = open_spool(tmp_path / "spool"), tmp_path / "spool"
    events = [finished(body=b"x" * 4000) for _ in range(200)]
    still_open = new_id()
    spool.begin(began(still_open))
    for event in events:
        await spool.finish(event)
    relay = relay_of(root, bus)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run(), name="relay")
        await until(lambda: relay.stats().appended == 200)
        assert await delivered_ids(bus, "fast") == [id_bytes(event.event_id) for event in events]
        await bus.trim()
        assert relay.stats().segments > 10

        await delivered_ids(bus, "slow")
        await until(lambda: relay.stats().segments == 1)

        spool.close()
        await until(lambda: relay.stats().appended == 201)
        for name in ("fast", "slow"):
            assert await delivered_ids(bus, name) == [id_bytes(still_open)]
        await until(lambda: not spool.folder.exists())
        task.cancel()
    relay.close()
    await bus.close()


async def test_a_hole_goes_by_and_is_delivered_to_nobody(tmp_path: Path) -> None:
    bus = await SqliteLog.open(tmp_path / "bus.db")
    await bus.ensure_groups(["all"])
    spool, root = open_spool(tmp_path / "spool", segment_bytes=1 << 20), tmp_path / "spool"
    for _ in range(10):
        await spool.finish(finished(body=b"x" * 4000))
    spool.close()
    path = next(spool.folder.glob("*.seg"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    relay = relay_of(root, bus)

    assert await relay.drain(10) == 0
    assert len(await delivered_ids(bus, "all")) == 9
    await relay.drain(10)

    assert not spool.folder.exists()
    assert (relay.stats().lost, relay.stats().recorded) == (1, 10)
    relay.close()
    await bus.close()


async def test_a_log_that_begins_anew_gets_again_what_the_spools_still_hold(tmp_path: Path) -> None:
    spool, root = open_spool(tmp_path / "spool"), tmp_path / "spool"
    events = [finished(body=b"x" * 100) for _ in range(50)]
    for event in events:
        await spool.finish(event)
    for name in ("one.db", "two.db"):
        bus = await SqliteLog.open(tmp_path / name)
        await bus.ensure_groups(["all"])
        relay = relay_of(root, bus)
        assert await relay.drain(10) == 0
        relay.close()

        deliveries = await bus.read("all", "c", max_entries=100, max_bytes=1 << 26, block_ms=0)
        assert [decode_finished(delivery.payload) for delivery in deliveries] == events
        await bus.close()
    spool.close()
