"""CountRequest: takes one request of the token's lifetime quota, before the upstream is called.

It stands behind the limits: a call that they refuse costs nothing. What the upstream answers does not give it back.
"""

from app.errors import QuotaExceeded
from app.exchange import Exchange, Proceed
from app.lookups import Lookups
from app.usage_counts import UsageCounts
from config.clock import Clock


class CountRequest:
    def __init__(self, lookups: Lookups, usage_counts: UsageCounts, clock: Clock) -> None:
        self._lookups = lookups
        self._usage_counts = usage_counts
        self._clock = clock

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        token, now_ms = exchange.token, self._clock.now_ms()
        if token.max_requests is None:
            self._usage_counts.count(token.id, now_ms)
        elif not await self._lookups.admit(token, now_ms):
            raise QuotaExceeded("This token's lifetime quota of requests is used up; ask for a new one.")
        await proceed(exchange)
