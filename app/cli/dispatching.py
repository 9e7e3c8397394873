"""A dispatcher as a process of its own: with Redis any number of them, on any number of hosts.

SIGTERM ──► running deliveries end, the rest is given back at once ──► exit 0
"""

import asyncio
import logging
from contextlib import AsyncExitStack

from app.cli.dispatcher_exposure import Exposure
from app.cli.event_bus import open_bus
from config.ending import told_to_end
from config.logs import log
from config.settings import Settings
from dispatcher.main import Dispatcher
from sql.stores import open_stores

logger = logging.getLogger(__name__)


async def dispatch(settings: Settings, *, is_child: bool = False) -> int:
    """Until SIGTERM; `is_child` of a server. Raises ConfigError for unknown backends and for a Redis that must not be
    used, Failure when its address is taken."""
    stop = told_to_end()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_bus(settings))
        stores = open_stores(settings)
        stack.push_async_callback(stores.close)
        dispatcher = Dispatcher(settings, bus, stores, has_lasting_disk=is_child)
        exposure = Exposure(settings, bus, dispatcher.states, stop, is_child=is_child)
        async with asyncio.TaskGroup() as tasks:
            exposure.start(tasks)
            await dispatcher.run(stop)
            await exposure.end()
    log(logger, logging.INFO, "dispatcher stopped")
    return 0
