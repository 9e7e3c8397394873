"""The keeper, composed: the relay, the embedded log that only it opens, the dispatcher, and a desk that answers.

With Redis it is the relay alone: dispatchers are processes of their own then (`app/cli/dispatching.py`).

    SIGTERM ──► relay: the rest of the spools into the log ──► dispatcher: the rest of the log to the backends

What is left is not lost: it lies in the spools and in the log, and the next keeper goes on with it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from app.cli.dispatcher_exposure import Exposure
from app.cli.event_bus import open_bus
from bus.bus import Bus, BusStats
from bus.claims import HasClaims
from bus.errors import BusUnavailable
from bus.inspection import serve_inspection
from bus.relay import Relay
from bus.wake import WakeListener
from config import paths
from config.clock import SystemClock
from config.ending import told_to_end
from config.logs import log
from config.settings import Settings
from dispatcher.housekeeping import every
from dispatcher.main import Dispatcher, backend_names
from sql.stores import open_stores

logger = logging.getLogger(__name__)

_LOOK_S = 0.05
_STUCK_S = 2.0  # no event delivered for so long: the backends are away, waiting longer helps nobody
_CLAIMS_EVERY_S = 600.0
_DAY_MS = 86_400_000
_DRAIN_SHARE = 0.9  # of the drain time; the supervisor kills at its end


async def keep(settings: Settings, *, with_dispatcher: bool) -> int:
    """Until SIGTERM. Raises ConfigError for unknown backends, BusError when another keeper works here."""
    stop = told_to_end()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_bus(settings))
        stores = open_stores(settings)
        stack.push_async_callback(stores.close)
        dispatcher = Dispatcher(settings, bus, stores) if with_dispatcher else None
        with contextlib.suppress(BusUnavailable):  # then they are made with the first append
            await bus.ensure_groups(backend_names(settings))
        wake = WakeListener(paths.wake_socket(settings))
        stack.callback(wake.close)
        relay = Relay.of(settings, bus, wake)
        stack.callback(relay.close)
        states = dispatcher.states if dispatcher else tuple
        await stack.enter_async_context(serve_inspection(paths.keeper_socket(settings), bus, relay, states))
        exposure = Exposure(settings, bus, dispatcher.states, stop, is_child=True) if dispatcher else None
        await _work(settings, bus, relay, dispatcher, exposure, stop)
    return 0


async def _work(
    settings: Settings,
    bus: Bus,
    relay: Relay,
    dispatcher: Dispatcher | None,
    exposure: Exposure | None,
    stop: asyncio.Event,
) -> None:
    stop_dispatcher = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(relay.run(), name="relay")
        delivering = tasks.create_task(dispatcher.run(stop_dispatcher), name="dispatcher") if dispatcher else None
        if exposure:
            exposure.start(tasks)
        if settings.claim_check_dir and isinstance(bus, HasClaims):
            tidy = _claims_deletion(bus, settings.claim_check_days)
            tasks.create_task(every(_CLAIMS_EVERY_S, tidy, stop), name="claims")
        await stop.wait()
        deadline = asyncio.get_running_loop().time() + settings.drain_s * _DRAIN_SHARE
        moving.cancel()
        await asyncio.wait([moving])
        in_spools = await relay.drain(settings.drain_s * _DRAIN_SHARE / 2)
        in_log = await _delivered(bus, deadline) if dispatcher else await _undelivered(bus)
        stop_dispatcher.set()
        if delivering and exposure:
            await asyncio.wait([delivering])
            await exposure.end()
    level = logging.WARNING if in_spools or in_log else logging.INFO
    log(logger, level, "keeper stopped", left_in_spools=in_spools, left_undelivered=in_log)


def _claims_deletion(bus: HasClaims, days: int) -> Callable[[], Awaitable[None]]:
    async def delete_old_claims() -> None:
        if hours := await bus.expire_claims(SystemClock().now_ms() - days * _DAY_MS):
            log(logger, logging.INFO, "large events that no backend needs were deleted", hours=hours, after_days=days)

    return delete_old_claims


async def _delivered(bus: Bus, deadline: float) -> int:
    """Waits until every backend has everything, or gets nothing any more; returns how many deliveries are left."""
    loop = asyncio.get_running_loop()
    left = await _undelivered(bus)
    moved_at = loop.time()
    while left and loop.time() < min(deadline, moved_at + _STUCK_S):
        await asyncio.sleep(_LOOK_S)
        now_left = await _undelivered(bus)
        if now_left != left:
            left, moved_at = now_left, loop.time()
    return left


async def _undelivered(bus: Bus) -> int:
    try:
        return _left(await bus.stats())
    except BusUnavailable:
        return 0


def _left(stats: BusStats) -> int:
    return sum(group.lag + group.pending for group in stats.groups)
