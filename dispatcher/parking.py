"""Parking: a backend that is away for long must not pin the bus. When its breaker has been open for long enough, its
events go to a lot on disk, in order, and off the bus; when it answers again they come back first, then the new ones.

    bus ── read, claim ──► lot: on disk, counted, acknowledged            (while away, and until the lot is empty)
     ▲                      │
     └── unpark ────────────┘  one as a probe while the breaker is open, then as fast as the rate allows
         into the group's own lane: from there it is delivered, tried again and buried like any event

Where another dispatcher delivers, the backend is not away: then everything is left, and given back, to that one.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bus.bus import SUSPECT_AFTER, Delivery
from bus.errors import BusUnavailable
from config.logs import log
from dispatcher.breaker import Breaker
from dispatcher.feed import Feed
from dispatcher.lots import Ground, OwnLots
from dispatcher.pauses import sleep_or_stop
from dispatcher.tally import Tally

if TYPE_CHECKING:
    from dispatcher.worker import Pace

_BATCH_BYTES: Final = 16 * 1024**2
_LANE_BATCHES: Final = (
    4  # given back and not settled, at most: bounds the bus's memory, and one that fails stops nobody
)
_BURST_S: Final = 0.2  # of the rate, at once
_LOOK_S: Final = 1.0  # at others' deliveries; four times at least before events are parked
_SOON_MS: Final = 20  # while events come back: how long a look for new ones may wait
_NEVER: Final = float("inf")

_logger = logging.getLogger(__name__)


class Parking:
    """One backend's. Without a ground it does nothing. Raises BusUnavailable, but for `wait`."""

    def __init__(
        self,
        ground: Ground | None,
        feed: Feed,
        group: str,
        consumer: str,
        *,
        pace: "Pace",
        breaker: Breaker,
        stop: asyncio.Event,
        tally: Tally,
    ) -> None:
        self._feed, self._group, self._consumer = feed, group, consumer
        self._pace, self._breaker, self._stop, self._tally = pace, breaker, stop, tally
        self._bus = ground.bus if ground else None
        self._lots = OwnLots(ground, group) if ground else None
        self._after_s = ground.after_ms / 1000 if ground and ground.after_ms else _NEVER
        self._rate = ground.rate if ground else 0
        self._open_since: float | None = None
        self._others_at: float | None = None
        """When another dispatcher was last seen to deliver, since the breaker opened."""
        self._delivered: int | None = None
        self._adopt_at = self._look_at = self._free_at = 0.0
        self._is_coming_back = False

    @property
    def is_on(self) -> bool:
        """Whether new events are parked, or wait until what was parked is handed out."""
        return self._parks or (self._is_coming_back and not self._others_deliver)

    async def tend(self) -> None:
        """Between two deliveries: parks what is new, gives back what may come, ends lots that are empty."""
        if self._lots is None:
            return
        if time.monotonic() >= self._adopt_at:  # as soon as a dead dispatcher's leases may be claimed, so may its lots
            await self._lots.adopt()
            self._adopt_at = time.monotonic() + self._pace.min_idle_ms / 1000
        await self._watch()
        if self._lots or self._parks:
            await self._lots.hand_over()
            if self._parks:
                await self._park_new(block_ms=0)
            await self._give_back(self._lots)
            await self._lots.end_settled(keep_written=self._parks)
            self._tell()

    async def take(self) -> list[Delivery]:
        """What is to be delivered while `is_on`; waits a little when there is nothing."""
        if batch := await self._claim():
            return batch
        if self._parks:
            await self._park_new(block_ms=self._pace.block_ms if self._breaker.is_open else _SOON_MS)
        else:
            self._is_coming_back = False
        return []

    async def wait(self, delay_ms: float, *, is_opened: bool) -> None:
        """The pause after a failure, in which arriving events are parked; while the backend is not even open, and so
        nothing is taken, those that are due as well."""
        until = time.monotonic() + delay_ms / 1000
        try:
            while not self._stop.is_set() and (left_ms := int((until - time.monotonic()) * 1000)) > 0:
                await self._watch()
                if self._parks:
                    if not is_opened and await self._has_room():
                        await self._park_due(with_probe=False)
                    await self._park_new(block_ms=min(left_ms, self._pace.block_ms))
                    self._tell()
                else:
                    await sleep_or_stop(min(left_ms, self._due_in_s() * 1000 + 1), self._stop)
        except BusUnavailable:
            await sleep_or_stop((until - time.monotonic()) * 1000, self._stop)

    async def close(self) -> None:
        if self._lots is not None:
            await self._lots.close()

    @property
    def _parks(self) -> bool:
        if self._lots is None or self._others_deliver:
            return False
        return self._due_in_s() <= 0 or self._lots.left > 0

    @property
    def _others_deliver(self) -> bool:
        return self._others_at is not None and time.monotonic() - self._others_at < self._after_s

    async def _watch(self) -> None:
        """Since when nobody has delivered."""
        if not self._breaker.is_open or self._bus is None:
            self._open_since = self._others_at = self._delivered = None
            return
        now = time.monotonic()
        if self._open_since is None:
            self._open_since = now
        if now >= self._look_at:
            self._look_at = now + min(_LOOK_S, self._after_s / 4)
            groups = (await self._bus.stats()).groups
            delivered = sum(group.delivered for group in groups if group.name == self._group)
            if self._delivered is not None and delivered > self._delivered:
                self._others_at = self._open_since = now
            self._delivered = delivered

    def _due_in_s(self) -> float:
        """Until the breaker has been open for so long that events are parked."""
        return _NEVER if self._open_since is None else self._after_s - (time.monotonic() - self._open_since)

    async def _claim(self) -> list[Delivery]:
        """While the backend is away what is due goes to the lot; one that came back from there is the probe."""
        if self._breaker.is_open and await self._has_room():
            return await self._park_due(with_probe=True)
        return await self._claimed(1 if self._breaker.is_open else self._pace.batch_size)

    async def _park_due(self, *, with_probe: bool) -> list[Delivery]:
        probe: list[Delivery] = []
        at_once = 1 if with_probe else self._pace.batch_size
        while claimed := await self._claimed(at_once):
            to_try = [delivery for delivery in claimed if _is_to_be_tried(delivery)]
            if with_probe and not probe:
                probe, to_try = to_try[:1], to_try[1:]
            await self._leave(to_try)
            if not await self._park([delivery for delivery in claimed if not _is_to_be_tried(delivery)]):
                break
            at_once = self._pace.batch_size
        return probe

    async def _claimed(self, max_entries: int) -> list[Delivery]:
        idle_ms = self._pace.min_idle_ms
        return await self._feed.claim(self._group, self._consumer, min_idle_ms=idle_ms, max_entries=max_entries)

    async def _park_new(self, *, block_ms: int) -> None:
        if await self._has_room():
            new = await self._feed.read(
                self._group,
                self._consumer,
                max_entries=self._pace.batch_size,
                max_bytes=_BATCH_BYTES,
                block_ms=block_ms,
            )
            await self._park(new)
        elif block_ms:
            await sleep_or_stop(block_ms, self._stop)

    async def _has_room(self) -> bool:
        return self._lots is not None and self._after_s < _NEVER and await self._lots.has_room()

    async def _park(self, deliveries: Sequence[Delivery]) -> bool:
        """Whether all of them are off the bus; what finds no room stays there, to be tried again."""
        if not deliveries or self._lots is None:
            return True
        if not self._lots:
            log(_logger, logging.WARNING, "a backend's events are parked", backend=self._group)
        count = await self._lots.append(deliveries)
        await self._leave(deliveries[count:])
        return count == len(deliveries)

    async def _leave(self, deliveries: Sequence[Delivery]) -> None:
        keys = [delivery.key for delivery in deliveries]
        if keys:
            await self._feed.retry_in(self._group, self._consumer, keys, self._pace.probes.longest_ms)

    async def _give_back(self, lots: OwnLots) -> None:
        """What the rate allows; what was not used up in quiet times is not made up for."""
        self._free_at = max(self._free_at, time.monotonic() - _BURST_S)
        in_time = int((time.monotonic() - self._free_at) * self._rate)
        is_away, batch = self._breaker.is_open and not self._others_deliver, self._pace.batch_size
        came = await lots.give_back(min(in_time, 1 if is_away else batch), room=1 if is_away else _LANE_BATCHES * batch)
        self._free_at += came / self._rate
        self._is_coming_back = self._is_coming_back or came > 0

    def _tell(self) -> None:
        if self._lots is None:
            return
        self._tally.parked = self._lots.left
        if not self._parks:
            self._tally.lot = "off"
        elif self._lots.is_full:
            self._tally.lot = "full"
        else:
            self._tally.lot = "parking" if self._breaker.is_open else "returning"


def _is_to_be_tried(delivery: Delivery) -> bool:
    """It came back from a lot, or it may be what kills dispatchers, which a lot would forget."""
    return delivery.is_returned or delivery.crashes >= SUSPECT_AFTER
