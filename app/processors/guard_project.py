"""GuardProject: sets `exchange.project`, refuses inactive ones, and counts the request.

The lifetime quota is taken here, before the upstream is called: what the upstream answers does not give it back.
"""

from app.errors import InvalidToken, ProjectInactive, QuotaExceeded
from app.exchange import Exchange, Proceed
from app.lookups import Lookups
from app.usage_counts import UsageCounts
from config.clock import Clock


class GuardProject:
    def __init__(self, lookups: Lookups, usage_counts: UsageCounts, clock: Clock) -> None:
        self._lookups = lookups
        self._usage_counts = usage_counts
        self._clock = clock

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        project = await self._lookups.project(exchange.token.project_id)
        if project is None:
            raise InvalidToken("The project of this token is gone; ask for a token of another one.")
        exchange.project = project
        exchange.facts.recording = project.row.recording
        if not project.row.is_active:
            raise ProjectInactive("This project has been deactivated; ask its admin.")
        await self._count(exchange)
        await proceed(exchange)

    async def _count(self, exchange: Exchange) -> None:
        token, now_ms = exchange.token, self._clock.now_ms()
        if token.max_requests is None:
            self._usage_counts.count(token.id, now_ms)
        elif not await self._lookups.admit(token, now_ms):
            raise QuotaExceeded("This token's lifetime quota of requests is used up; ask for a new one.")
