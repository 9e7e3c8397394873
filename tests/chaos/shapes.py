"""The deployments that chaos breaks, and their settings: all time constants at about a twentieth of production's."""

import os
from typing import Literal

from msgspec import Struct

BusKind = Literal["embedded", "redis"]

BACKENDS = ("database", "file", "webhook")

TWENTIETH = {
    "LLM_PROXY_DISPATCHER_MIN_IDLE_MS": "1500",
    "LLM_PROXY_DISPATCHER_BACKOFF_MS": "25",
    "LLM_PROXY_DISPATCHER_BACKOFF_MAX_MS": "1000",
    "LLM_PROXY_DISPATCHER_TIMEOUT_MS": "1000",
    "LLM_PROXY_DISPATCHER_PARK_AFTER_MS": "1000",
    "LLM_PROXY_DATABASE_TIMEOUT_MS": "1000",
    "LLM_PROXY_CHANGES_POLL_MS": "100",
    "LLM_PROXY_RELAY_PATIENCE_MS": "1500",
    "LLM_PROXY_REDIS_TIMEOUT_MS": "1000",
    "LLM_PROXY_DRAIN_S": "4",
    "LLM_PROXY_LIMITS_HOLD_MS": "3000",
    "LLM_PROXY_LIMITS_TIMEOUT_MS": "500",  # not shorter than in production: a machine that is busy is no fault
}
_QUIET = {
    "DISPATCHER_BACKENDS": ",".join(BACKENDS),
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
    "LLM_PROXY_LOG_REQUESTS": "false",
    "OBSERVABILITY_MAX_REQUEST_BODY_BYTES": "262144",
    "RETENTION_DAYS": "0",
}


class Shape(Struct, frozen=True, kw_only=True):
    name: str
    bus: BusKind = "embedded"
    on_postgres: bool = False
    on_small_disks: bool = False
    """DATA_DIR, the spool and the databases on three tmpfs, which can be filled. Needs root."""
    workers: int = 2
    forgets: bool = False
    """The bus loses what it knew, and its counters with it; all that is still to be delivered comes from the spools."""
    environ: dict[str, str] = {}

    @property
    def can_run(self) -> bool:
        return not self.on_small_disks or os.geteuid() == 0

    def settings(self) -> dict[str, str]:
        return {**TWENTIETH, **_QUIET, "LLM_PROXY_WORKERS": str(self.workers), **self.environ}


SMALL_SEGMENTS = {"LLM_PROXY_SPOOL_SEGMENT_BYTES": "131072"}
EMBEDDED = Shape(name="embedded", environ=SMALL_SEGMENTS)
SMALL_DISKS = Shape(name="small-disks", on_small_disks=True, environ=SMALL_SEGMENTS)
POSTGRES = Shape(name="postgres", on_postgres=True, environ=SMALL_SEGMENTS)

_ON_REDIS = {**SMALL_SEGMENTS, "LLM_PROXY_EVENT_BUS": "redis-streams"}
REDIS = Shape(name="redis", bus="redis", environ=_ON_REDIS)
FORGETFUL_REDIS = Shape(name="forgetful-redis", bus="redis", forgets=True, environ=_ON_REDIS)

SHAPES = {shape.name: shape for shape in (EMBEDDED, SMALL_DISKS, POSTGRES, REDIS, FORGETFUL_REDIS)}
