"""What Redis knows of parking lots: how far each is, in the counters, and what came back, in the group's replays."""

from collections.abc import Sequence
from typing import Any

from bus.lots import LotMarks, LotPlace, Parked
from bus.redis_groups import RedisGroups


class RedisLots(RedisGroups):
    async def park(self, group: str, keys: Sequence[str]) -> None:
        """Of another history nothing is acknowledged: those events are parked and still there, and go out twice."""
        for lane, ids in self._history.lanes(keys):
            arguments = [group, "lot", self._history.id, *ids]
            if not lane and await self._run("ack", [self._stream, self._keys.counters], arguments) < 0:
                await self._history.learn()
                break
        self._let_go(group, keys)

    async def unpark(
        self, group: str, lot: bytes, place: LotPlace, events: Sequence[Parked] = (), *, room: int = 0
    ) -> LotMarks:
        arguments: list[Any] = [group, lot.hex(), place.holds, place.settled, place.next, room, len(events)]
        for event in events:
            arguments += (event.event_id, event.payload, event.at_ms)
        keys = [self._keys.counters, self._keys.again(group)]
        return LotMarks(*await self._run("lot", keys, arguments))

    async def end_lot(self, group: str, lot: bytes) -> None:
        await self._link.call("HDEL", self._keys.counters, f"lot:{group}:{lot.hex()}")
