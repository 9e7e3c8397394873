"""The folder of all spools, as the relay holds it: one relay at a time, totals of what is gone, deleting in safe order.

    drained and delivered ──► TOTALS (durable, with the spool's id) ──► renamed (durable) ──► bus.retire ──► deleted

A death between any two of these is made good by the next relay: nothing is counted twice, no spool is appended anew.
"""

import logging
import os
import shutil
import time
from collections.abc import Container
from pathlib import Path
from typing import Final

import msgspec

from bus.checkpoint import TOTALS, Totals
from bus.errors import BusError
from bus.ownership import left_aside, set_aside, spools, take, unfinished
from bus.slots import Slots
from bus.tail import Tail
from config.logs import log

RELAY_LOCK: Final = "RELAY.LOCK"
_UNREADABLE_S: Final = 5.0
_logger = logging.getLogger(__name__)


class SpoolRoot:
    def __init__(self, root: Path, *, patience_s: float) -> None:
        """Raises OSError, and BusError when another relay works here."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = take(root / RELAY_LOCK)
        if held is None:
            raise BusError(f"another relay (keeper) works on {root}: stop that one first")
        self._root, self._lock_fd, self._patience_s = root, held, patience_s
        try:
            self._slots = Slots.open(root / TOTALS, Totals)
        except OSError:
            os.close(held)
            raise
        self.totals = self._slots.read() or Totals()
        self._unreadable: dict[bytes, float] = {}

    def new_tails(self, known: Container[bytes]) -> list[Tail]:
        """Spools that have appeared, but for those that cannot be read now: they are tried again later."""
        found = []
        for spool, folder in spools(self._root).items():
            if spool in known or self._unreadable.get(spool, 0.0) > time.monotonic():
                continue
            try:
                found.append(Tail(folder, spool, patience_s=self._patience_s))
            except OSError as error:
                self._unreadable[spool] = time.monotonic() + _UNREADABLE_S
                log(_logger, logging.ERROR, "a spool cannot be opened", spool=folder.name, error=str(error))
        return found

    def copy_of_totals(self) -> Totals:
        return msgspec.structs.replace(self.totals, dropped=dict(self.totals.dropped))

    def set_aside(self, tail: Tail) -> None:
        """Adds a spool to the totals, closes it and takes its name away."""
        try:
            if self.totals.last != tail.spool:
                tail.keep_point()
                totals = self.copy_of_totals()
                add(totals, tail)
                totals.last = tail.spool
                self._slots.write(totals, durable=True)
                self.totals = totals
        finally:
            tail.close()
        set_aside(tail.folder)

    def left_aside(self) -> dict[bytes, Path]:
        return left_aside(self._root)

    def delete(self, folder: Path) -> None:
        """What cannot be deleted now is found again at the next call."""
        shutil.rmtree(folder, ignore_errors=True)

    def tidy(self) -> None:
        """Deletes what workers left that died while they made their folder."""
        for folder in unfinished(self._root):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self._slots.close()
        os.close(self._lock_fd)


def add(totals: Totals, tail: Tail) -> None:
    point, counts = tail.point, tail.counts
    totals.spools += 1
    totals.recorded += point.high_water + 1
    totals.interrupted += point.interrupted
    totals.lost += point.lost
    totals.unrecoverable += point.unrecoverable
    totals.bodies_dropped += counts.bodies_dropped
    for reason, number in counts.dropped.items():
        totals.dropped[reason] = totals.dropped.get(reason, 0) + number
