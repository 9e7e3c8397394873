"""Recorded events once more to one backend, through the very worker that delivers new ones.

 recorded events ──► ReplayFeed (at most `rate` a second) ──► Worker ──► backend
                         ▲ retries, with backoff ────────────────┘

No bus is needed and none is touched. The event ids are the old ones, so who keeps keys has nothing twice. What the
backend refuses is told and goes nowhere else: the event stays recorded.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import Struct, structs

from bus.bus import Delivery
from bus.codec import encode
from bus.event import ExchangeFinished
from dispatcher.backends.base import Backend
from dispatcher.worker import Pace, Worker

PATIENCE_S: Final = 30.0
"""A backend that takes nothing for so long ends the replay; a second one goes on where it ended."""
_AGAIN: Final = 2  # deliveries, from the first: the backend may have the event already
_BURST_S: Final = 0.2  # of the rate, in one batch
_LOOK_S: Final = 0.1


class Refused(Struct, frozen=True):
    event_id: str
    reason: str


class Replayed(Struct, frozen=True):
    sent: int
    refused: tuple[Refused, ...]
    is_complete: bool
    reason: str = ""
    """Why it ended early."""
    resume_until_ms: int | None = None
    """Everything accepted from then on is done."""


async def replay(
    backend: Backend,
    events: AsyncIterator[ExchangeFinished],
    pace: Pace,
    *,
    rate: float,
    stop: asyncio.Event,
    patience_s: float = PATIENCE_S,
) -> Replayed:
    """`events` come newest first, `rate` is events a second. Ends by itself; `stop` ends it early and cleanly."""
    feed = ReplayFeed(events, rate)
    worker = Worker(backend, feed, "replay", pace, stop)
    reason = ""
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(worker.run(), name="worker")
        while not stop.is_set() and not working.done():
            await asyncio.wait([working], timeout=_LOOK_S)
            if feed.is_done():
                stop.set()
            elif feed.idle_s() > patience_s and (error := worker.state().error):
                reason = error
                stop.set()
    return Replayed(feed.sent, tuple(feed.refused), feed.is_done(), reason, feed.resume_until_ms())


class _Open(Struct):
    delivery: Delivery
    accepted_at_ms: int
    due_at: float | None = None
    """The loop's time; None while it is handed out."""


class ReplayFeed:
    def __init__(self, events: AsyncIterator[ExchangeFinished], rate: float) -> None:
        self._events = events
        self._rate = rate
        self._open: dict[str, _Open] = {}
        self._is_exhausted = False
        self._last_ms: int | None = None
        self._now = asyncio.get_running_loop().time
        self._free_at = self._moved_at = self._now()
        self.sent = 0
        self.refused: list[Refused] = []

    def is_done(self) -> bool:
        return self._is_exhausted and not self._open

    def idle_s(self) -> float:
        """Since anything was taken or refused."""
        return self._now() - self._moved_at

    def resume_until_ms(self) -> int | None:
        waiting = [one.accepted_at_ms for one in self._open.values()]
        at_ms = max(waiting, default=self._last_ms)
        return None if self.is_done() or at_ms is None else at_ms + 1

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        count = 0 if self._is_exhausted else await self._allowed(max_entries, block_ms)
        if self._is_exhausted:
            await asyncio.sleep(block_ms / 1000)
        batch: list[Delivery] = []
        size = 0
        while len(batch) < count and size < max_bytes and (event := await self._next()):
            delivery = Delivery(event.event_id, event.event_id.encode(), _AGAIN, encode(event))
            self._open[delivery.key] = _Open(delivery, event.accepted_at_ms)
            batch.append(delivery)
            size += len(delivery.payload)
        self._free_at += len(batch) / self._rate
        return batch

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        due = [one for one in self._open.values() if one.due_at is not None and one.due_at <= self._now()]
        count = await self._allowed(max_entries, 0) if due else 0
        for one in due[:count]:
            one.due_at = None
            one.delivery = structs.replace(one.delivery, deliveries=one.delivery.deliveries + 1)
        self._free_at += len(due[:count]) / self._rate
        return [one.delivery for one in due[:count]]

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        return set(keys)

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        self._settled(keys)
        self.sent += len(keys)

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        for key in keys:
            self._open[key].due_at = self._now() + delay_ms / 1000

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        self._settled([key])
        self.refused.append(Refused(key, detail or reason))
        return True

    def _settled(self, keys: Sequence[str]) -> None:
        self._moved_at = self._now()
        for key in keys:
            del self._open[key]

    async def _next(self) -> ExchangeFinished | None:
        event = await anext(self._events, None)
        if event is None:
            self._is_exhausted = True
        else:
            self._last_ms = event.accepted_at_ms
        return event

    async def _allowed(self, max_entries: int, block_ms: int) -> int:
        """How many events may go now; what was not used up in quiet times is not made up for."""
        wait_s = self._free_at - self._now()
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, block_ms / 1000))
        if self._now() < self._free_at:
            return 0
        self._free_at = self._now()
        return max(1, min(max_entries, int(self._rate * _BURST_S)))
