"""Health of a worker: /live (the loop turns), /ready (send me traffic), /health (a summary for people and monitors).

The event bus being away is degraded, not unready: the spool takes the events, and a shared dependency must not take
every target out of a load balancer at once. Without the database a worker is unready only while it knows no token.
"""

import time
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from app.lookups import Lookups
from app.proxy_headers import VERSION
from bus.spool import Spool
from sql.errors import StoreError
from sql.stores import Stores

_REMEMBER_S: Final = 1.0  # a probe storm costs the database one ping a second


class Health:
    def __init__(self, stores: Stores, lookups: Lookups, spool: Spool | None) -> None:
        self._stores = stores
        self._lookups = lookups
        self._spool = spool
        self._pinged_at = 0.0
        self._database = "unknown"
        self.is_draining = False

    async def live(self, request: Request) -> Response:
        return PlainTextResponse("alive")

    async def ready(self, request: Request) -> Response:
        if self.is_draining:
            return PlainTextResponse("draining", status_code=503)
        database = await self._ping()
        if database != "ok" and not self._lookups.knows_tokens:
            return PlainTextResponse(f"database: {database}", status_code=503)
        degraded = [name for name, state in self._parts(database).items() if state != "ok"]
        return PlainTextResponse(f"ready, degraded: {', '.join(degraded)}" if degraded else "ready")

    async def health(self, request: Request) -> Response:
        parts = self._parts(await self._ping())
        body: dict[str, Any] = {
            "status": "ok" if all(state == "ok" for state in parts.values()) else "degraded",
            "timestamp": datetime.now(UTC).isoformat(),
            "version": VERSION,
            "draining": self.is_draining,
            "parts": parts,
        }
        return JSONResponse(body)

    async def _ping(self) -> str:
        if time.monotonic() - self._pinged_at >= _REMEMBER_S:
            self._pinged_at = time.monotonic()
            try:
                await self._stores.main.ping()
                self._database = "ok"
            except StoreError:
                self._database = "away"
        return self._database

    def _parts(self, database: str) -> dict[str, str]:
        return {"database": database, "spool": self._spool_state()}

    def _spool_state(self) -> str:
        if self._spool is None:
            return "ok"
        return "full" if self._spool.stats().is_full else "ok"
