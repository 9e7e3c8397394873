"""Is this process alive, may it get traffic, and how is it doing? No session, no secrets, no addresses of others."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from admin.acts.timestamps import rfc3339
from admin.parts import Parts
from sql.errors import StoreError
from sql.migrate import check

_PING_S: Final = 0.5
_REMEMBERED_MS: Final = 1000  # probes of several balancers ask the database once a second together


class Health:
    def __init__(self, parts: Parts, draining: asyncio.Event) -> None:
        self._parts = parts
        self._draining = draining
        self._answer: tuple[int, str] | None = None
        """When the database was asked, and what was wrong with it."""

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/live", self.live), Route("/ready", self.ready), Route("/health", self.health)]

    async def live(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        reason = "draining" if self._draining.is_set() else await self._trouble()
        return JSONResponse(
            {"status": "unavailable", "reason": reason} if reason else {"status": "ready"}, self._status(reason)
        )

    async def health(self, request: Request) -> Response:
        """Always 200: for people and monitors, which read the word."""
        trouble = await self._trouble()
        return JSONResponse(
            {
                "status": "degraded" if trouble else "ok",
                "service": "admin",
                "version": version("llm-proxy"),
                "timestamp": rfc3339(self._parts.clock.now_ms()),
                "dependencies": {"database": trouble or "ok"},
            }
        )

    def _status(self, reason: str) -> int:
        return 503 if reason else 200

    async def _trouble(self) -> str:
        """Empty when the database answers in time and has the schema of this program."""
        now = self._parts.clock.monotonic_ns() // 1_000_000
        if self._answer is None or now - self._answer[0] >= _REMEMBERED_MS:
            self._answer = (now, await self._ask())
        return self._answer[1]

    async def _ask(self) -> str:
        try:
            async with asyncio.timeout(_PING_S):
                await self._parts.stores.main.ping()
                await check(self._parts.stores)
        except (StoreError, TimeoutError) as error:
            return str(error) or "the database does not answer in time"
        return ""
