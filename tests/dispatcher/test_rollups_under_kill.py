"""Dispatchers are killed in the middle of batches; what is delivered again is summed once."""

import signal
from pathlib import Path

import pytest

from bus.bus import Entry
from bus.codec import encode
from bus.event import ExchangeFinished, Usage
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from config.ids import id_bytes
from config.secret import Secret
from config.settings import Settings
from sql.repositories import requests, rollups
from sql.repositories.rollups import LENGTH_MS, Totals
from sql.rows import RequestFilter
from sql.stores import Stores
from tests.dispatcher.scripted import make_event
from tests.support.dispatchers import QUICK, dispatching
from tests.support.redis_server import RedisServer
from tests.support.rollups import EVER_MS, totals_of
from tests.support.waiting import eventually_async

COUNT = 800


def an_event(number: int) -> ExchangeFinished:
    return make_event(
        number,
        accepted_at_ms=1_795_000_000_000 + number * 7_000,
        project_id=f"project-{number % 3}",
        end_user=f"user-{number % 11}",
        usage=Usage(input=number, output=1) if number % 5 else None,
        cost_microusd=number if number % 7 else None,
        request_body=None,
        response_body=None,
    )


async def fed(url: str) -> None:
    bus = RedisStreams(RedisLink(Secret(url)), "llm-proxy-events", min_idle_ms=1000)
    await bus.ensure_groups(["database"])
    events = [an_event(number) for number in range(COUNT)]
    seq = (await bus.append(b"spool", 1, 0, [])).high_water + 1
    await bus.append(b"spool", 1, seq, [Entry(id_bytes(event.event_id), encode(event)) for event in events])
    await bus.close()


@pytest.mark.slow
async def test_sums_equal_the_rows_although_dispatchers_are_killed(
    stores: Stores, store_settings: Settings, tmp_path: Path, own_redis: RedisServer
) -> None:
    await fed(own_redis.url)

    for stop_at in (300, COUNT):
        with dispatching(tmp_path, **environ(store_settings, own_redis)) as dispatcher:

            async def has(count: int = stop_at) -> bool:
                return await requests.count_capped(stores.records, RequestFilter(), COUNT) >= count

            await eventually_async(has)
            dispatcher.process.send_signal(signal.SIGKILL)

    rows = await requests.list_page(stores.records, RequestFilter(), limit=2 * COUNT)
    wanted = totals_of(rows)
    assert (len(rows), wanted.requests) == (COUNT, COUNT)
    assert await rollups.spent(stores.records, since_ms=0, until_ms=EVER_MS) == wanted
    for period in LENGTH_MS:
        found = await rollups.usage(stores.records, "end_user", period, since_ms=0, until_ms=EVER_MS, limit=9 * COUNT)
        summed = sum((_totals(one) for one in found), Totals())
        assert summed == wanted


def environ(settings: Settings, redis: RedisServer) -> dict[str, str]:
    database = {"DATA_DIR": settings.data_dir}
    if settings.database_url:
        database |= {"DB_DRIVER": "postgres", "DATABASE_URL": settings.database_url.reveal()}
    return {**QUICK, **database, "DISPATCHER_BACKENDS": "database", "REDIS_URL": redis.url}


def _totals(found: Totals) -> Totals:
    return Totals(**{name: getattr(found, name) for name in Totals.__struct_fields__})
