"""The load: so many workers take the next call, in turn to each target, at a pace of their own or at a given one."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import count

from app.benchmark.call import Caller, Sample
from app.benchmark.plan import Plan, provider_of
from app.upstreams.http1_upstream import Http1Upstream

Seen = Callable[[Sample], None]


async def run(plan: Plan, seen: Seen) -> float:
    """Tells of each measured call; returns how many seconds they took."""
    upstreams = [Http1Upstream(provider_of(target, plan)) for target in plan.targets]
    callers = [Caller(plan, target, upstream) for target, upstream in zip(plan.targets, upstreams, strict=True)]
    try:
        if plan.warm_up:
            await _Load(plan, callers, lambda sample: None, most=plan.warm_up, rate=None, until_s=None).run()
        most = None if plan.requests is None else plan.requests * len(callers)
        rate = None if plan.rate is None else plan.rate * len(callers)
        return await _Load(plan, callers, seen, most=most, rate=rate, until_s=plan.duration_s).run()
    finally:
        for upstream in upstreams:
            await upstream.close()


class _Load:
    def __init__(
        self,
        plan: Plan,
        callers: list[Caller],
        seen: Seen,
        *,
        most: int | None,
        rate: float | None,
        until_s: float | None,
    ) -> None:
        self._callers, self._seen, self._rate, self._until_s = callers, seen, rate, until_s
        self._workers = plan.concurrency
        self._numbers: Iterator[int] = count() if most is None else iter(range(most))

    async def run(self) -> float:
        self._began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"benchmark-{number}")
        return time.perf_counter() - self._began

    async def _work(self) -> None:
        """One connection's worth of calls. What is due while all workers are busy is late, and counts as that."""
        for number in self._numbers:
            now_s = time.perf_counter() - self._began
            due_s = now_s if self._rate is None else number / self._rate
            if self._until_s is not None and due_s >= self._until_s:
                return
            if due_s > now_s:
                await asyncio.sleep(due_s - now_s)
            self._seen(await self._callers[number % len(self._callers)].call(due_s, self._began))
