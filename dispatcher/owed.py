"""What the worker still owes the bus: settlements that are decided and not yet written there.

They outlive a bus that is away. While anything is owed nothing more is sent, otherwise a bus that cannot take an
acknowledgement would turn every event into duplicates without end.
"""

from dispatcher.feed import Feed
from dispatcher.settle import Ack, Bury, RetryIn, Settlement
from dispatcher.tally import Tally


class Owed:
    def __init__(self, bus: Feed, group: str, consumer: str, tally: Tally) -> None:
        self._bus = bus
        self._tally = tally
        self._group = group
        self._consumer = consumer
        self._open: dict[str, Settlement] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, key: str, settlement: Settlement) -> None:
        self._open[key] = settlement

    async def pay(self) -> None:
        """Acknowledgements first: they are what keeps events from going out twice. Raises BusUnavailable."""
        if acks := [key for key, settlement in self._open.items() if isinstance(settlement, Ack)]:
            await self._bus.ack(self._group, acks)
            self._tally.delivered += len(acks)
            self._forget(acks)
        for delay_ms, keys in self._by_delay().items():
            await self._bus.retry_in(self._group, self._consumer, keys, delay_ms)
            self._tally.retried += len(keys)
            self._forget(keys)
        for key, settlement in list(self._open.items()):
            if isinstance(settlement, Bury):
                is_buried = await self._bus.dead_letter(
                    self._group, self._consumer, key, reason=settlement.reason, detail=settlement.detail
                )
                self._tally.buried += is_buried
                self._forget([key])

    def _by_delay(self) -> dict[int, list[str]]:
        delays: dict[int, list[str]] = {}
        for key, settlement in self._open.items():
            if isinstance(settlement, RetryIn):
                delays.setdefault(settlement.delay_ms, []).append(key)
        return delays

    def _forget(self, keys: list[str]) -> None:
        for key in keys:
            del self._open[key]
