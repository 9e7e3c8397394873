"""The limits of a worker, put together from its settings."""

import asyncio
from typing import Any

from app.limits.following import PolicyFollower
from app.limits.limits import Limits
from app.limits.shared import InOwner, SharedCounts, Where
from app.limits.spent import spent_by_records
from app.metrics import Metrics
from config import paths
from config.checks import has_redis
from config.clock import Clock
from config.settings import Settings
from sql.stores import Stores


class WorkerLimits:
    def __init__(self, settings: Settings, stores: Stores, metrics: Metrics, clock: Clock, *, worker: str) -> None:
        self._shared = SharedCounts(
            _where(settings),
            prefix=settings.distributed_rate_limit_prefix,
            name=worker,
            answer_s=settings.limits_timeout_ms / 1000,
            hold_ms=settings.limits_hold_ms,
            least_workers=settings.workers,
        )
        secret = settings.distributed_rate_limit_key_secret
        self.limits = Limits(
            self._shared,
            metrics,
            clock,
            hold_ms=settings.limits_hold_ms,
            spent=spent_by_records(stores, clock) if "database" in settings.dispatcher_backends else None,
            secret=secret.reveal().encode() if secret else b"",
        )
        self.policy = PolicyFollower(stores, self.limits, settings)

    async def keep_up(self) -> None:
        """Runs for the life of the worker."""
        loops: tuple[Any, ...] = (self._shared.keep_up(), self.limits.keep_up())
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop, name=loop.__qualname__)

    def close(self) -> None:
        self._shared.close()


def _where(settings: Settings) -> Where:
    if not has_redis(settings):
        return InOwner(str(paths.limits_socket(settings)))
    from app.limits.in_redis import InRedis
    from bus.redis_link import redis_url

    return InRedis(redis_url(settings), ca_file=settings.redis_ca_file)
