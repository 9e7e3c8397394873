"""Answers that are read to their end although their client has left: what they cost is only told there.

For projects that ask for it (`on_disconnect: drain`). Each is bounded by time and bytes, and a worker has so many at
once; what is beyond is cancelled, as it is for the other projects.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

from msgspec import Struct

from app.errors import ClientGone
from app.exchange import Exchange
from app.metrics import Metrics

_TO_RECORD_S: Final = 1.0  # of the time that a stopping worker has: drains that are ended are recorded in it


class _Drain(Struct):
    timer: asyncio.TimerHandle
    size: int = 0


class Drains:
    def __init__(self, metrics: Metrics, *, most: int, limit_s: float, max_bytes: int) -> None:
        self._metrics = metrics
        self._most = most
        self._limit_s = limit_s
        self._max_bytes = max_bytes
        self._running: dict[asyncio.Task[Any], _Drain] = {}

    def of(self, exchange: Exchange) -> Callable[[], bool] | None:
        """What is asked when this exchange's client leaves: whether its task goes on. None: it never does."""
        if exchange.project.row.on_disconnect != "drain" or not self._most:
            return None
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        return lambda: self._begin(task)

    def hear(self, exchange: Exchange, size: int) -> None:
        """A piece that nobody waits for. A client that left at a stream's end has missed none, and cut nothing.

        Raises ClientGone beyond the bound.
        """
        exchange.facts.cut = "client"
        drain = self._running[cast("asyncio.Task[Any]", asyncio.current_task())]
        drain.size += size
        if drain.size > self._max_bytes:
            raise ClientGone

    def end(self, exchange: Exchange) -> None:
        """To be called when an exchange is over, drained or not. The time-out must not strike after it."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        if exchange.body.is_abandoned and (drain := self._running.pop(task, None)):
            drain.timer.cancel()
            self._show()

    async def finish(self, within_s: float) -> None:
        """The worker stops: drains get this time, then they are ended and recorded as they are."""
        until = time.monotonic() + max(0.0, within_s - _TO_RECORD_S)
        while self._running and time.monotonic() < until:
            await asyncio.wait(self._running, timeout=until - time.monotonic())
        for task in (ended := list(self._running)):
            task.cancel()
        if ended:
            await asyncio.wait(ended, timeout=_TO_RECORD_S)

    def _begin(self, task: asyncio.Task[Any]) -> bool:
        if len(self._running) >= self._most:
            self._metrics.count("llm_proxy_drains_refused_total")
            return False
        self._running[task] = _Drain(asyncio.get_running_loop().call_later(self._limit_s, task.cancel))
        self._metrics.count("llm_proxy_drains_total")
        self._show()
        return True

    def _show(self) -> None:
        self._metrics.gauge("llm_proxy_drains_running", len(self._running))
