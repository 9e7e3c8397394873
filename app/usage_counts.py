"""Counts of tokens without a quota: gathered in memory, written once a second.

A token with a quota is counted in the database before its request goes on. For the others a count may be a second
late, and a worker that is killed loses that second of counting; the exchanges themselves are events and are not lost.
"""

import asyncio
import logging

from config.logs import log
from sql.errors import StoreError
from sql.repositories import tokens
from sql.rows import TokenUsage
from sql.stores import Stores

logger = logging.getLogger(__name__)


class UsageCounts:
    def __init__(self, stores: Stores, *, flush_s: float) -> None:
        self._stores = stores
        self._flush_s = flush_s
        self._pending: dict[str, tuple[int, int]] = {}
        """Token id to requests and last use; bounded by the number of tokens."""

    def count(self, token_id: str, now_ms: int) -> None:
        requests, _ = self._pending.get(token_id, (0, 0))
        self._pending[token_id] = (requests + 1, now_ms)

    async def flush_regularly(self) -> None:
        """Runs for the life of the worker."""
        while True:
            await asyncio.sleep(self._flush_s)
            await self.flush()

    async def flush(self) -> None:
        """Writes what is pending; keeps it for the next time when the database is away."""
        taken, self._pending = self._pending, {}
        if not taken:
            return
        rows = [
            TokenUsage(id=token_id, requests=requests, cache_hits=0, last_used_at_ms=last_used)
            for token_id, (requests, last_used) in taken.items()
        ]
        try:
            await tokens.add_usage(self._stores.main, rows)
        except StoreError as error:
            log(logger, logging.WARNING, "token counts wait for the database", tokens=len(rows), error=str(error))
            self._put_back(taken)

    def _put_back(self, taken: dict[str, tuple[int, int]]) -> None:
        for token_id, (requests, last_used) in taken.items():
            newer, at = self._pending.get(token_id, (0, 0))
            self._pending[token_id] = (requests + newer, max(last_used, at))
