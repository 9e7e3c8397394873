"""Everything that the bus asks of a Redis, once."""

from bus.bus import Entry
from bus.redis_letters import RedisLetters
from bus.redis_link import RedisLink, check_server
from bus.redis_streams import RedisStreams

SPOOL = b"spool-one-------"


async def use_everything(link: RedisLink, key: str) -> None:
    """On a key that is fresh; leaves nothing."""
    assert "noeviction" in await check_server(link)
    bus, letters = RedisStreams(link, key, min_idle_ms=100), RedisLetters(link, key)
    await bus.ensure_groups(["db"])
    await bus.append(SPOOL, 1, 0, [Entry(bytes([n]) * 16, b"payload") for n in range(4)])
    one, two, three, four = await bus.read("db", "c", max_entries=9, max_bytes=1 << 20, block_ms=10)
    assert await bus.extend("db", "c", [one.key]) == {one.key}
    await bus.ack("db", [one.key])
    await bus.retry_in("db", "c", [two.key], 0)
    assert len(await bus.claim("db", "d", min_idle_ms=100, max_entries=1)) == 1
    for delivery in (three, four):
        assert await bus.dead_letter("db", "c", delivery.key, reason="permanent", detail="")

    page = await letters.letters("db")
    assert await letters.letter("db", page.letters[0].id)
    assert await letters.purge_letters("db", [page.letters[0].id]) == 1
    assert await letters.replay_letters("db", [page.letters[1].id]) == 1
    (again,) = await bus.claim("db", "c", min_idle_ms=100, max_entries=1)
    await bus.ack("db", [again.key, two.key])

    assert await bus.trim() >= 0
    assert await bus.delivered_through(SPOOL) == 3
    (stats,) = (await bus.stats()).groups
    assert (stats.delivered, stats.purged, stats.pending) == (3, 1, 0)
    await bus.retire(SPOOL)
    tag = f"{{{key}}}:"
    await link.call("DEL", *(tag + name for name in ("evt", "hw", "ctr", "dead:db", "again:db")))
