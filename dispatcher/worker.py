"""The loop of one backend: pay what is owed, take a batch, deliver it, settle it.

A failing backend is asked again with backoff, one batch at a time; it never drains the log into retries. When it goes
on failing its breaker opens, and one event at a time asks whether it is back; after long the others are parked. Events
that cannot be decoded or that killed the process too often are buried unseen by the backend.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from bus.bus import Delivery
from bus.codec import decode_finished
from bus.errors import BusUnavailable, Undecodable
from bus.inspection import BackendState, State
from config.logs import log
from config.settings import Settings
from dispatcher.backends.base import Backend, BackendUnavailable, Delivered, Outcome, Retry, Unknown
from dispatcher.bisect import deliver_bisected
from dispatcher.breaker import Breaker
from dispatcher.feed import Feed
from dispatcher.lots import Ground
from dispatcher.owed import Owed
from dispatcher.parking import Parking
from dispatcher.pauses import sleep_or_stop
from dispatcher.settle import Backoff, Bury, asked_ms, is_crash_loop, settle
from dispatcher.stopping import stops_with
from dispatcher.tally import Tally

_BATCH_BYTES: Final = 16 * 1024**2  # bounds memory; a batch of the largest bodies stays below it
_LONGEST_BLOCK_MS: Final = 500  # bounds how long a stop waits for a quiet bus

_logger = logging.getLogger(__name__)


class Pace(Struct, frozen=True):
    """The worker's time constants, all from settings, so that tests run the same code faster."""

    batch_size: int
    min_idle_ms: int
    timeout_ms: int
    backoff: Backoff
    breaker_failures: int = 5
    probe_max_ms: int = 10_000

    @classmethod
    def from_settings(cls, settings: Settings) -> "Pace":
        return cls(
            batch_size=settings.dispatcher_batch_size,
            min_idle_ms=settings.dispatcher_min_idle_ms,
            timeout_ms=settings.dispatcher_timeout_ms,
            backoff=Backoff(settings.dispatcher_backoff_ms, settings.dispatcher_backoff_max_ms),
            breaker_failures=settings.dispatcher_breaker_failures,
            probe_max_ms=settings.dispatcher_probe_max_ms,
        )

    @property
    def probes(self) -> Backoff:
        """Between two questions whether a backend is back: its return is to be noticed soon."""
        return Backoff(self.backoff.first_ms, min(self.backoff.longest_ms, self.probe_max_ms))

    @property
    def heartbeat_ms(self) -> int:
        return max(1, self.min_idle_ms // 3)

    @property
    def block_ms(self) -> int:
        """How long a read waits, and so how often due retries are looked for."""
        return min(_LONGEST_BLOCK_MS, max(1, self.min_idle_ms // 10))


class Worker:
    """`run` ends when `stop` is set; what it could not hand over by then expires by itself."""

    def __init__(
        self,
        backend: Backend,
        bus: Feed,
        consumer: str,
        pace: Pace,
        stop: asyncio.Event,
        tally: Tally | None = None,
        ground: Ground | None = None,
    ) -> None:
        self._backend = backend
        self._bus = bus
        self._consumer = consumer
        self._pace = pace
        self._stop = stop
        self._tally = tally or Tally()
        self._owed = Owed(bus, backend.name, consumer, self._tally)
        self._breaker = breaker = Breaker(pace.breaker_failures)
        self._parking = Parking(
            ground, bus, backend.name, consumer, pace=pace, breaker=breaker, stop=stop, tally=self._tally
        )
        self._failures = 0
        self._error = ""
        self._is_open = False
        self._is_turn_of_new = False
        self._is_doubted = False

    def state(self) -> BackendState:
        state: State = "waiting" if self._error else "delivering"
        is_open = self._breaker.is_open
        return self._tally.state(self._backend.name, state, self._failures, self._error, is_open=is_open)

    async def run(self) -> None:
        stops_with(self._stop)
        try:
            while not self._stop.is_set():
                try:
                    await self._step()
                except BackendUnavailable as error:
                    self._failed([], str(error))
                    await self._wait_out(str(error))
                except BusUnavailable as error:
                    await self._wait_out(str(error))
            with contextlib.suppress(BusUnavailable):
                await self._owed.pay()
        finally:
            await self._parking.close()
            if self._is_open:
                await self._backend.close()

    async def _step(self) -> None:
        await self._owed.pay()
        await self._open()
        batch = await self._take()
        outcomes = await self._handle(batch)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Retry | Unknown)]
        if outcomes and not self._stop.is_set():
            self._is_doubted = len(failures) == len(outcomes)
            if self._is_doubted:
                self._failed([delivery.key for delivery in batch], failures[0].reason)
            else:
                self._answered()
        await self._owed.pay()  # after the judgement: a bus that is away now changes nothing about the backend
        if not self._is_doubted:
            self._recovered()
        elif failures:
            await self._wait_out(failures[0].reason, asked_by(failures))

    async def _open(self) -> None:
        if self._is_open:
            return
        try:
            async with asyncio.timeout(self._pace.timeout_ms / 1000):
                await self._backend.open()
        except TimeoutError as error:
            raise BackendUnavailable(f"not open within {self._pace.timeout_ms} ms") from error
        self._is_open = True
        self._answered()

    async def _take(self) -> list[Delivery]:
        """Due retries and new events in turns, so that one which never succeeds cannot keep the others waiting."""
        await self._parking.tend()
        if self._parking.is_on:
            return await self._parking.take()
        is_turn_of_new, self._is_turn_of_new = self._is_turn_of_new, False
        if is_turn_of_new and (batch := await self._read(block_ms=0)):
            return batch
        if batch := await self._claim():
            self._is_turn_of_new = True
            return batch
        return await self._read(block_ms=self._pace.block_ms)

    async def _read(self, *, block_ms: int) -> list[Delivery]:
        return await self._bus.read(
            self._backend.name,
            self._consumer,
            max_entries=self._at_once,
            max_bytes=_BATCH_BYTES,
            block_ms=block_ms,
        )

    async def _claim(self) -> list[Delivery]:
        return await self._bus.claim(
            self._backend.name,
            self._consumer,
            min_idle_ms=self._pace.min_idle_ms,
            max_entries=self._at_once,
        )

    @property
    def _at_once(self) -> int:
        """One while the breaker is open: what is not handed out keeps its place and its count of deliveries."""
        return 1 if self._breaker.is_open else self._pace.batch_size

    async def _handle(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Delivers and decides; what is decided is owed from then on."""
        batch = [item for delivery in deliveries if (item := self._opened(delivery))]
        if not batch:
            return []
        with self._in_flight(deliveries):
            outcomes = await self._deliver_alive(batch)
        jitter = random.random()
        backoff = self._pace.probes if self._breaker.is_open else self._pace.backoff  # the next probe needs an event
        for item, outcome in zip(batch, outcomes, strict=True):
            self._owed.add(item.key, settle(outcome, item.deliveries, backoff, jitter))
        return outcomes

    def _opened(self, delivery: Delivery) -> Delivered | None:
        """None for what no backend is to see: it is buried here."""
        if is_crash_loop(delivery.crashes):
            detail = f"handed out {delivery.crashes} times, and each time the dispatcher died"
            self._owed.add(delivery.key, Bury("crash_loop", detail))
            return None
        try:
            event = decode_finished(delivery.payload)
        except Undecodable as error:
            self._owed.add(delivery.key, Bury("undecodable", str(error)))
            return None
        return Delivered(event, delivery.key, delivery.deliveries)

    @contextlib.contextmanager
    def _in_flight(self, deliveries: Sequence[Delivery]) -> Iterator[None]:
        self._tally.in_flight = len(deliveries)
        self._tally.in_flight_bytes = sum(len(delivery.payload) for delivery in deliveries)
        try:
            yield
        finally:
            self._tally.in_flight = self._tally.in_flight_bytes = 0

    async def _deliver_alive(self, batch: Sequence[Delivered]) -> list[Outcome]:
        """Delivers while a heartbeat keeps the leases."""
        async with asyncio.TaskGroup() as tasks:
            heartbeat = tasks.create_task(self._keep_leases([item.key for item in batch]), name="heartbeat")
            try:
                return await deliver_bisected(self._deliver, batch)
            finally:
                heartbeat.cancel()

    async def _deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        if self._stop.is_set():
            return [Retry("the dispatcher stops", after_ms=0)] * len(batch)
        try:
            async with asyncio.timeout(self._pace.timeout_ms / 1000):
                return await self._backend.deliver(batch)
        except TimeoutError:
            return [Unknown(f"no answer within {self._pace.timeout_ms} ms")] * len(batch)

    async def _keep_leases(self, keys: Sequence[str]) -> None:
        while True:
            await asyncio.sleep(self._pace.heartbeat_ms / 1000)
            with contextlib.suppress(BusUnavailable):  # the next beat tries again; at worst another consumer claims
                await self._bus.extend(self._backend.name, self._consumer, keys)

    def _failed(self, keys: Sequence[str], reason: str) -> None:
        if not self._breaker.failed(keys):
            return
        self._tally.opened += 1
        log(_logger, logging.WARNING, "a backend's breaker opened", backend=self._backend.name, reason=reason)

    def _answered(self) -> None:
        if self._breaker.answered():
            log(_logger, logging.INFO, "a backend's breaker closed", backend=self._backend.name)

    async def _wait_out(self, reason: str, at_least_ms: int = 0) -> None:
        if not self._error:
            log(_logger, logging.WARNING, "a backend waits", backend=self._backend.name, reason=reason)
        self._failures += 1
        self._error = reason
        delay_ms = max(at_least_ms, self._pace.probes.delay_ms(self._failures, random.random()))
        if self._owed:
            await sleep_or_stop(delay_ms, self._stop)
        else:
            await self._parking.wait(delay_ms, is_opened=self._is_open)

    def _recovered(self) -> None:
        if self._error:
            log(_logger, logging.INFO, "a backend delivers again", backend=self._backend.name)
        self._failures = 0
        self._error = ""


def asked_by(outcomes: Sequence[Outcome]) -> int:
    """The longest time that the backend asked to be left alone."""
    asked = [outcome.after_ms for outcome in outcomes if isinstance(outcome, Retry) and outcome.after_ms]
    return asked_ms(max(asked), random.random()) if asked else 0
