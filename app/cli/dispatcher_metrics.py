"""A dispatcher's numbers: what its own workers did (counters), and how the groups on the bus stand (gauges).

The bus's gauges are those of the whole fleet: every dispatcher that is scraped tells the same, so take the maximum and
not the sum of them. Lag comes from our own positions, since Redis may not know its own (XINFO GROUPS: nil).
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from app.metrics import Metrics, Snapshot
from bus.bus import Bus, BusStats, GroupStats
from bus.errors import BusError
from bus.inspection import BackendState
from config.ids import new_id

_EVERY_S: Final = 1.0
_STATS_S: Final = 5.0
_COUNTERS: Final = {
    "delivered": "delivered_total",
    "retried": "retried_total",
    "buried": "dead_total",
    "opened": "breaker_opened_total",
}
_GAUGES: Final = {
    "in_flight": "in_flight_events",
    "in_flight_bytes": "in_flight_bytes",
    "failures": "failures_in_a_row",
    "parked": "lot_events",
}
_OF_GROUPS: Final = {
    "delivered": "delivered_events",
    "dead": "dead_letters",
    "pending": "pending_events",
    "lag": "lag_events",
}


def snapshot_of(states: Sequence[BackendState], stats: BusStats | None, pid: int = 0) -> Snapshot:
    """`stats` None: the bus does not answer, and says nothing rather than something old."""
    taken = Snapshot(pid=pid, gauges={"llm_proxy_dispatcher_bus_away": float(stats is None)})
    for state in states:
        for field, name in _COUNTERS.items():
            taken.counters[_key(name, state.name)] = getattr(state, field)
        for field, name in _GAUGES.items():
            taken.gauges[_key(name, state.name)] = getattr(state, field)
        taken.gauges[_key("breaker_open", state.name)] = int(state.breaker == "open")
        taken.gauges[_key("lot_full", state.name)] = int(state.lot == "full")
    if stats is not None:
        for group in stats.groups:
            taken.gauges |= _of_group(group) | {_key("recorded_events", group.name): stats.appended}
    return taken


def _of_group(group: GroupStats) -> dict[str, float]:
    """With `recorded_events` the bus's side of the ledger: it is the sum of all of these but the seconds."""
    told: dict[str, float] = {_key(name, group.name): getattr(group, field) for field, name in _OF_GROUPS.items()}
    told[_key("parked_events", group.name)] = group.parked
    told[_key("dropped_events", group.name)] = group.purged + group.earlier + group.lost
    return told | {_key("lag_seconds", group.name): group.oldest_ms / 1000}


def _key(name: str, backend: str) -> str:
    """Groups that others made on the bus may be named anything."""
    escaped = backend.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'llm_proxy_dispatcher_{name}{{backend="{escaped}"}}'


class DispatcherMetrics:
    """The numbers as of a second ago; with a `folder` also a file there, for the proxy's scrape."""

    def __init__(self, bus: Bus, states: Callable[[], Sequence[BackendState]], folder: Path | None = None) -> None:
        self._bus = bus
        self._states = states
        self._folder = folder
        self._name = f"dispatcher-{new_id()}"
        self._metrics = Metrics()
        self.is_bus_away = True

    def now(self) -> Snapshot:
        return self._metrics.now

    def states(self) -> Sequence[BackendState]:
        return self._states()

    async def watch(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        stats = await self._stats()
        self.is_bus_away = stats is None
        self._metrics.now = snapshot_of(self._states(), stats, self._metrics.now.pid)
        if self._folder is not None:
            await asyncio.to_thread(self._write, self._folder)

    async def _stats(self) -> BusStats | None:
        try:
            async with asyncio.timeout(_STATS_S):
                return await self._bus.stats()
        except (BusError, TimeoutError):
            return None

    def _write(self, folder: Path) -> None:
        """A scrape that misses them tells it; deliveries do not stop for it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._metrics.write(folder, self._name)
        except OSError:
            return
