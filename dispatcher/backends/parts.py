"""A batch in parts that a service takes: split by count and bytes, sent side by side, within the delivery's time.

What was done is never forgotten for what was not: when the time ends or the service fails again and again, the parts
that were sent keep their outcomes and the rest is given back untried. So a slow service makes progress.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from bus.event import ExchangeFinished
from config.settings import Settings
from dispatcher.backends.base import Delivered, Outcome, Retry, Unknown
from dispatcher.bisect import deliver_bisected
from dispatcher.stopping import is_stopping

_ALONE_FROM: Final = 5
_SHARE: Final = 0.9  # of the delivery's time-out; the rest is for telling what became of the parts
_FAILURES: Final = 3  # in a row, or as many as calls run at once: after so many nothing more is sent
_HANDED_OVER: Final = Retry("not sent: the dispatcher stops", after_ms=0)
_OUT_OF_TIME: Final = Retry("not sent: the time of this delivery was used up by others", after_ms=0)


class Packed(Struct, frozen=True):
    """An event and its bytes as the service takes them."""

    item: Delivered
    data: bytes
    group: str = ""
    """Only what has the same one may share a part."""


class Limits(Struct, frozen=True):
    items: int
    """Events in one call."""
    max_bytes: int
    """Bytes of their encodings in one call; a larger event goes alone, and the service judges it."""
    at_once: int
    """Calls side by side, and connections."""
    within_s: float
    alone_from: int = _ALONE_FROM
    """Deliveries after which an event goes alone, so that one which makes a service fail does not hold up others."""

    @classmethod
    def of(cls, settings: Settings, *, items: int, max_bytes: int, at_once: int) -> "Limits":
        return cls(items, max_bytes, at_once, _SHARE * settings.dispatcher_timeout_ms / 1000)


Encode = Callable[[ExchangeFinished], bytes]
GroupOf = Callable[[ExchangeFinished], str]
Send = Callable[[Sequence[Packed], float], Awaitable[list[Outcome]]]
"""One call: an outcome per event, and the loop's time until which it may take."""


async def deliver_in_parts(
    batch: Sequence[Delivered], encode: Encode, send: Send, limits: Limits, group_of: GroupOf = lambda event: ""
) -> list[Outcome]:
    """One outcome per event, in order. Encoding happens on a thread: bodies are large, and others share the loop."""
    until = asyncio.get_running_loop().time() + limits.within_s
    packed = await asyncio.to_thread(lambda: [Packed(i, encode(i.event), group_of(i.event)) for i in batch])
    order = sorted(range(len(packed)), key=lambda i: (_travels_alone(packed[i], limits), packed[i].group))
    parts = list(split([packed[i] for i in order], limits))
    sent = [outcome for outcomes in await _Round(parts, send, limits, until).run() for outcome in outcomes]
    in_order = dict(zip(order, sent, strict=True))
    return [in_order[i] for i in range(len(batch))]


def split(packed: Sequence[Packed], limits: Limits) -> Iterator[list[Packed]]:
    """In order; every part within the limits, or a single event."""
    part: list[Packed] = []
    size = 0
    for one in packed:
        is_full = len(part) >= limits.items or size + len(one.data) > limits.max_bytes
        if part and (is_full or one.group != part[0].group or _travels_alone(one, limits)):
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.data)
    if part:
        yield part


def _travels_alone(one: Packed, limits: Limits) -> bool:
    return one.item.deliveries >= limits.alone_from


class _Round:
    def __init__(self, parts: Sequence[list[Packed]], send: Send, limits: Limits, until: float) -> None:
        self._parts = parts
        self._send = send
        self._limits = limits
        self._until = until
        self._waiting = iter(enumerate(parts))
        self._outcomes: dict[int, list[Outcome]] = {}
        self._failures: list[Retry | Unknown] = []
        """In a row, over all lanes."""

    async def run(self) -> list[list[Outcome]]:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(self._limits.at_once, len(self._parts))):
                tasks.create_task(self._lane(), name=f"lane {number}")
        untried = self._untried()
        return [self._outcomes.get(i, [untried] * len(part)) for i, part in enumerate(self._parts)]

    async def _lane(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._has_failed() and loop.time() < self._until:
            index, part = next(self._waiting, (-1, []))
            if not part:
                return
            outcomes = await deliver_bisected(self._call, part)
            self._outcomes[index] = outcomes
            failures = [outcome for outcome in outcomes if isinstance(outcome, Retry | Unknown)]
            self._failures = [*self._failures, failures[0]] if len(failures) == len(outcomes) else []

    async def _call(self, some: Sequence[Packed]) -> list[Outcome]:
        """Halving takes time, too."""
        if is_stopping():
            return [_HANDED_OVER] * len(some)
        if asyncio.get_running_loop().time() >= self._until:
            return [_OUT_OF_TIME] * len(some)
        return await self._send(some, self._until)

    def _has_failed(self) -> bool:
        return len(self._failures) >= max(_FAILURES, self._limits.at_once)

    def _untried(self) -> Retry:
        """A service that was too slow is asked again at once: what it did take is progress."""
        if is_stopping():
            return _HANDED_OVER
        if not self._has_failed() or asyncio.get_running_loop().time() >= self._until:
            return _OUT_OF_TIME
        last = self._failures[-1]
        return Retry(f"not sent: {last.reason}", last.after_ms if isinstance(last, Retry) else None)
