"""The dispatcher's composition: which backends there are, and everything that runs beside them.

It knows neither who started it nor which bus it is given: `app.cli` composes it into the keeper, or runs it alone.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from bus.bus import Bus
from bus.errors import BusUnavailable
from bus.inspection import BackendState
from config.clock import Clock, SystemClock
from config.errors import ConfigError
from config.logs import log
from config.settings import Settings
from dispatcher.backends.base import Backend
from dispatcher.backends.database import DatabaseBackend
from dispatcher.backends.file import FileBackend
from dispatcher.fleet import Fleet
from dispatcher.housekeeping import (
    GROUPS_EVERY_S,
    RETENTION_EVERY_S,
    TRIM_EVERY_S,
    delete_old_bodies,
    delete_old_changes,
    delete_old_minutes,
    delete_retired_keys,
    every,
    tell_of_forgotten_groups,
)
from dispatcher.lots import Ground
from dispatcher.pauses import sleep_or_stop
from dispatcher.worker import Pace
from sql.stores import Stores

Build = Callable[[Settings, Stores], Backend]

_logger = logging.getLogger(__name__)


def _database(settings: Settings, stores: Stores) -> Backend:
    return DatabaseBackend(stores.records)


def _file(settings: Settings, stores: Stores) -> Backend:
    if not settings.file_event_log:
        raise ConfigError(["FILE_EVENT_LOG: the backend `file` needs the path of a file to write to"])
    return FileBackend(Path(settings.file_event_log))


def _on_demand(module: str) -> Build:
    """Imported when it is configured: HTTP, protobuf and object stores cost a keeper 12 to 30 MB."""

    def build(settings: Settings, stores: Stores) -> Backend:
        backend: Backend = import_module(f"dispatcher.backends.{module}").build(settings)
        return backend

    return build


BACKENDS: Final[dict[str, Build]] = {
    "database": _database,
    "file": _file,
    "webhook": _on_demand("webhook"),
    "otlp": _on_demand("otlp"),
    "langfuse": _on_demand("langfuse"),
    "helicone": _on_demand("helicone"),
    "lunary": _on_demand("lunary"),
    "s3": _on_demand("s3"),
}


def backend_names(settings: Settings) -> list[str]:
    """DISPATCHER_BACKENDS in its order, once each; FILE_EVENT_LOG alone is enough to turn `file` on."""
    wanted = [*settings.dispatcher_backends, *(["file"] if settings.file_event_log else [])]
    return list(dict.fromkeys(wanted))


def build_backends(settings: Settings, stores: Stores) -> list[Backend]:
    """Opens nothing. Raises ConfigError with all mistakes at once."""
    backends: list[Backend] = []
    mistakes: list[str] = []
    for name in backend_names(settings):
        try:
            backends.append(build_backend(name, settings, stores))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return backends


def build_backend(name: str, settings: Settings, stores: Stores) -> Backend:
    """Configured to be delivered to or not. Raises ConfigError."""
    if name not in BACKENDS:
        raise ConfigError([f"DISPATCHER_BACKENDS: unknown backend {name!r}; there are: {', '.join(BACKENDS)}"])
    return BACKENDS[name](settings, stores)


class Dispatcher:
    """Raises ConfigError when it is made, so that a typo stops the start and not the first delivery."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        stores: Stores,
        clock: Clock | None = None,
        *,
        has_lasting_disk: bool = True,
    ) -> None:
        """`has_lasting_disk`: DATA_DIR outlives this process's container, as that of a server must."""
        self._settings = settings
        self._bus = bus
        self._stores = stores
        self._clock = clock or SystemClock()
        backends = build_backends(settings, stores)
        self._names = [backend.name for backend in backends]
        self._pace = Pace.from_settings(settings)
        self._fleet = Fleet(backends, bus, self._pace, Ground.of(settings, bus, has_lasting_disk=has_lasting_disk))

    def states(self) -> tuple[BackendState, ...]:
        """For the inspection socket."""
        return self._fleet.states()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set: running deliveries end within their time-out, the rest is given back."""
        await self._make_groups(stop)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fleet.run(stop), name="fleet")
            tasks.create_task(every(TRIM_EVERY_S, self._bus.trim, stop), name="trim")
            tasks.create_task(every(GROUPS_EVERY_S, self._tell_of_forgotten_groups, stop), name="forgotten groups")
            tasks.create_task(every(RETENTION_EVERY_S, self._delete_retired_keys, stop), name="retired keys")
            tasks.create_task(every(RETENTION_EVERY_S, self._delete_old_changes, stop), name="old changes")
            if self._settings.retention_days:
                tasks.create_task(every(RETENTION_EVERY_S, self._delete_old_bodies, stop), name="retention")
            if "database" in self._names:
                tasks.create_task(every(RETENTION_EVERY_S, self._delete_old_minutes, stop), name="old minutes")

    async def _make_groups(self, stop: asyncio.Event) -> None:
        """Before anything is delivered or trimmed: an event may only go when every backend's group has seen it."""
        tries = 0
        while not stop.is_set():
            try:
                await self._bus.ensure_groups(self._names)
                return
            except BusUnavailable as error:
                tries += 1
                log(_logger, logging.WARNING, "the dispatcher waits for the bus", reason=str(error))
                await sleep_or_stop(self._pace.backoff.delay_ms(tries, random.random()), stop)

    async def _delete_old_bodies(self) -> None:
        await delete_old_bodies(self._stores.records, self._clock, self._settings.retention_days)

    async def _delete_retired_keys(self) -> None:
        await delete_retired_keys(self._stores.main, self._clock)

    async def _delete_old_changes(self) -> None:
        await delete_old_changes(self._stores.main, self._clock)

    async def _delete_old_minutes(self) -> None:
        await delete_old_minutes(self._stores.records, self._clock, self._settings.rollup_minutes_days)

    async def _tell_of_forgotten_groups(self) -> None:
        await tell_of_forgotten_groups(self._bus, self._names)


async def run(settings: Settings, bus: Bus, stores: Stores, stop: asyncio.Event) -> None:
    await Dispatcher(settings, bus, stores).run(stop)
