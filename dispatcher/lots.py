"""All parking lots of one backend on this machine that are ours: one to write to, and those of dispatchers now dead.

<root>/<backend>/<uuid>/   a lot (see lot.py); one bound holds for all lots of a backend together
"""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from msgspec import Struct

from bus.bus import Bus, Delivery
from bus.errors import SpoolUnusable, Undecodable
from bus.lots import Lots
from bus.ownership import LOCK, left_aside, spools, take, unfinished
from config import paths
from config.logs import log
from config.settings import Settings
from dispatcher.lot import Lot

_AFTER_MS: Final = 600_000
_AGAIN_S: Final = 0.5  # before another try to make a lot
_BATCH_BYTES: Final = 16 * 1024**2
_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Ground(Struct, frozen=True):
    """Where a dispatcher may park, from when on, how much, and how fast parked events come back."""

    bus: Lots
    root: Path
    after_ms: int
    """A breaker that has been open for so long begins it; 0: nothing is parked, what was comes back all the same."""
    max_bytes: int
    rate: int
    """Events a second that a dispatcher gives back at most."""

    @classmethod
    def of(cls, settings: Settings, bus: Bus, *, has_lasting_disk: bool) -> "Ground | None":
        """None for a bus that cannot count what is parked. On a disk that may not last only who asks for it parks."""
        if not isinstance(bus, Lots):
            return None
        after_ms = settings.dispatcher_park_after_ms
        if after_ms is None:
            after_ms = _AFTER_MS if has_lasting_disk else 0
        return cls(
            bus=bus,
            root=paths.parking_root(settings),
            after_ms=after_ms,
            max_bytes=settings.dispatcher_park_max_bytes,
            rate=settings.dispatcher_park_rate,
        )


class OwnLots:
    """Oldest first. Raises BusUnavailable."""

    def __init__(self, ground: Ground, backend: str) -> None:
        self.is_full = False
        self._bus, self._backend = ground.bus, backend
        self._root, self._max_bytes = ground.root / backend, ground.max_bytes
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="lots")
        self._lots: list[Lot] = []
        self._written: Lot | None = None
        self._unreadable: set[bytes] = set()
        self._make_at = 0.0
        self._safe: list[str] = []
        """Keys of what is in the lot that is written, and not off the bus yet."""

    def __bool__(self) -> bool:
        return bool(self._lots)

    @property
    def left(self) -> int:
        """Events that are not given back yet."""
        return sum(lot.left for lot in self._lots)

    async def adopt(self) -> None:
        """Those that nobody holds any more."""
        for lot in await self._on_disk(_free_lots, self._root, {lot.id for lot in self._lots}):
            log(_logger, logging.INFO, "a parking lot is adopted", backend=self._backend, events=lot.left)
            self._lots.append(lot)
        self._lots.sort(key=lambda lot: lot.id)  # ids are made of time

    async def has_room(self) -> bool:
        """To be asked before events are read: what is read and finds no room was handed out for nothing."""
        if self.is_full and self._written is None and await self._writable() is None:
            return False
        if self._written and not await self._on_disk(self._written.has_room):
            self._fill_up(self._written.full_because)
            return False
        return True

    async def append(self, deliveries: Sequence[Delivery]) -> int:
        """How many of them, from the first on, are on disk, counted, and off the bus."""
        if (lot := await self._writable()) is None:
            return 0
        count = await self._on_disk(lot.append, deliveries)
        self._safe += [delivery.key for delivery in deliveries[:count]]
        await self.hand_over()
        if count < len(deliveries):
            self._fill_up(lot.full_because or "the disk does not confirm")
        elif self.is_full:
            self.is_full = False
            log(_logger, logging.INFO, "events can be parked again", backend=self._backend)
        return count

    async def hand_over(self) -> None:
        """Counts first, then acknowledges: in this order no event is ever nowhere."""
        if self._safe and self._written:
            lot = self._written
            await self._on_disk(lot.note, await self._bus.unpark(self._backend, lot.id, lot.place))
            await self._bus.park(self._backend, self._safe)
            self._safe.clear()

    async def give_back(self, most: int, *, room: int) -> int:
        """The oldest events, while fewer than `room` wait on the bus; how many. Learns what is settled, too."""
        came = 0
        for lot in self._lots:
            if lot.is_settled:
                continue
            try:
                events, first = await self._on_disk(lot.peek, most - came, _BATCH_BYTES), lot.next
                marks = await self._bus.unpark(self._backend, lot.id, lot.place, events, room=room)
                await self._on_disk(lot.note, marks)
            except (OSError, Undecodable) as error:
                self._tell_unreadable(lot, str(error))
                break
            came += max(0, min(len(events), lot.next - first))
            if lot.left:
                break
        return came

    async def end_settled(self, *, keep_written: bool) -> None:
        for lot in [lot for lot in self._lots if lot.is_settled]:
            if lot is self._written:
                if keep_written or self._safe:
                    continue
                self._written = None
            await self._bus.end_lot(self._backend, lot.id)
            self._lots.remove(lot)
            await self._on_disk(_removed, lot)
            log(_logger, logging.INFO, "a parking lot is empty", backend=self._backend, events=lot.holds)

    async def close(self) -> None:
        for lot in self._lots:
            await self._on_disk(lot.close)
        self._lots, self._written = [], None
        self._disk.shutdown(wait=False)

    async def _on_disk(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """On one thread, in order: what a worker that ends was writing is written before the lot is closed."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, lambda: act(*args, **kwargs))

    async def _writable(self) -> Lot | None:
        if self._written and self._written.is_writable:
            return self._written
        if time.monotonic() < self._make_at:
            return None
        try:
            self._written = await self._on_disk(Lot.make, self._root, self._max_bytes)
        except (SpoolUnusable, OSError) as error:
            self._fill_up(str(error))
            self._make_at = time.monotonic() + _AGAIN_S
            return None
        self._lots.append(self._written)
        return self._written

    def _tell_unreadable(self, lot: Lot, error: str) -> None:
        """It stays where it is, and those after it wait, until its disk or a newer program is back."""
        if lot.id not in self._unreadable:
            self._unreadable.add(lot.id)
            log(_logger, logging.ERROR, "a parking lot cannot be read", backend=self._backend, error=error)

    def _fill_up(self, reason: str) -> None:
        if not self.is_full:
            fields = {"backend": self._backend, "reason": reason}
            log(_logger, logging.ERROR, "no more events can be parked; they wait on the bus", **fields)
        self.is_full = True


def _free_lots(root: Path, known: Container[bytes]) -> list[Lot]:
    """Also deletes what was left half made or half deleted."""
    if not root.is_dir():
        return []
    for rest in (*left_aside(root).values(), *unfinished(root)):
        shutil.rmtree(rest, ignore_errors=True)
    return [
        adopted
        for lot, folder in spools(root).items()
        if lot not in known and (adopted := _adopted(lot, folder)) is not None
    ]


def _removed(lot: Lot) -> None:
    """What cannot be removed now is adopted, found empty and removed later."""
    try:
        lot.remove()
    except OSError as error:
        lot.close()
        log(_logger, logging.WARNING, "an empty parking lot cannot be removed", error=str(error))


def _adopted(lot: bytes, folder: Path) -> Lot | None:
    """None while its dispatcher lives, when it has just been removed, or when it cannot be read now."""
    try:
        lock = take(folder / LOCK)
    except OSError:
        return None
    if lock is None:
        return None
    try:
        return Lot.adopt(lot, folder, lock)
    except OSError as error:
        os.close(lock)
        if folder.is_dir():
            log(_logger, logging.ERROR, "a parking lot cannot be opened", lot=folder.name, error=str(error))
        return None
