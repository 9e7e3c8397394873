"""What is done beside delivering: the log is trimmed, old bodies and minutes go, forgotten groups are told of."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bus.bus import Bus
from bus.errors import BusUnavailable
from config.clock import Clock
from config.logs import log
from dispatcher.pauses import sleep_or_stop
from sql.database import Database
from sql.errors import StoreError
from sql.repositories import api_keys, changes, requests, rollups

TRIM_EVERY_S: Final = 2.0
RETENTION_EVERY_S: Final = 3600.0
GROUPS_EVERY_S: Final = 3600.0
_BODIES_PER_DELETE: Final = 500  # keeps the write lock for milliseconds
_DAY_MS: Final = 86_400_000
_NAMES_DAYS: Final = 2  # an event that comes later than that begins the names of its day anew

_logger = logging.getLogger(__name__)


async def every(period_s: float, act: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """At once, and then each `period_s` until `stop`. What is away is told once and tried again next time."""
    is_away = False
    while not stop.is_set():
        try:
            await act()
            is_away = False
        except (BusUnavailable, StoreError) as error:
            if not is_away:
                log(_logger, logging.WARNING, "housekeeping waits", act=act.__name__, reason=str(error))
            is_away = True
        await sleep_or_stop(period_s * 1000, stop)


async def delete_old_bodies(records: Database, clock: Clock, retention_days: int) -> int:
    """Deletes recorded bodies of exchanges older than that, a chunk at a time; the rows without them stay."""
    before_ms = clock.now_ms() - retention_days * _DAY_MS
    total = 0
    while True:
        count = await requests.delete_bodies_before(records, before_ms, _BODIES_PER_DELETE)
        total += count
        if count < _BODIES_PER_DELETE:
            break
    if total:
        log(_logger, logging.INFO, "bodies deleted", count=total, older_than_days=retention_days)
    return total


async def delete_old_minutes(records: Database, clock: Clock, days: int) -> int:
    """Deletes the sums of minutes older than that, a minute at a time; those of hours and days stay."""
    now_ms = clock.now_ms()
    total = 0
    while count := await rollups.delete_oldest_minute(records, now_ms - days * _DAY_MS):
        total += count
    await rollups.delete_names_before(records, now_ms - _NAMES_DAYS * _DAY_MS)
    return total


async def delete_retired_keys(main: Database, clock: Clock) -> int:
    """API keys that were replaced, when their rotation cannot be undone any more; the audit log told of it then."""
    return await api_keys.delete_retired(main, clock.now_ms())


async def delete_old_changes(main: Database, clock: Clock) -> int:
    """Changes that every worker has been told of, or must do without."""
    return await changes.prune(main, clock.now_ms())


async def tell_of_forgotten_groups(bus: Bus, names: Sequence[str]) -> list[str]:
    """A group without a backend keeps every event in the log and in the spools; only a person may give it up."""
    forgotten = [group for group in (await bus.stats()).groups if group.name not in names]
    for group in forgotten:
        log(
            _logger,
            logging.WARNING,
            "a backend that had events is not configured any more; its events are kept, add it again to deliver them",
            backend=group.name,
            events=group.lag + group.pending + group.parked,
        )
    return [group.name for group in forgotten]
