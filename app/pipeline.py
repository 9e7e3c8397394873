"""THE LIST: a request's way, top to bottom.

Each processor acts, lets the rest proceed, and may act again when the last byte has gone out. What comes later has its
place here too: the cache and transformations before the upstream.
"""

import time
from collections.abc import Awaitable, Sequence
from itertools import cycle
from typing import Final, Protocol

from msgspec import Struct

from app.drains import Drains
from app.exchange import Exchange, Proceed
from app.limits.amounts import Pricing
from app.limits.limits import Limits
from app.lookups import Lookups
from app.metrics import Metrics
from app.processors.ask_for_usage import AskForUsage
from app.processors.authenticate import Authenticate
from app.processors.call_upstream import CallUpstream
from app.processors.count_request import CountRequest
from app.processors.guard_project import GuardProject
from app.processors.limit_rate import LimitRate
from app.processors.record import Record
from app.processors.report_errors import ReportErrors
from app.processors.share_with_origins import ShareWithOrigins
from app.processors.validate_call import ValidateCall
from app.recorder import Recorder
from app.upstreams.upstream import Upstreams
from app.usage_counts import UsageCounts
from config.clock import Clock
from config.errors import ConfigError


class Processor(Protocol):
    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None: ...


class Parts(Struct, frozen=True):
    """What processors are built from; each takes only what it needs."""

    recorder: Recorder
    lookups: Lookups
    usage_counts: UsageCounts
    limits: Limits
    prices: Pricing
    upstreams: Upstreams
    drains: Drains
    metrics: Metrics
    clock: Clock
    logs_requests: bool
    """One line per exchange at info level."""
    include_usage: tuple[str, ...] = ()
    """Providers whose chat streams are asked for their usage."""


def build_pipeline(parts: Parts, enabled: Sequence[str] = ()) -> Proceed:
    """The list as one callable. `enabled` names the processors that run; empty runs all. The order is fixed here."""
    is_recorded = not enabled or "Record" in enabled
    processors: list[Processor] = [
        Record(
            parts.recorder, parts.metrics, logs_requests=parts.logs_requests
        ),  # outermost: every exchange, refused ones too
        ShareWithOrigins(),  # CORS: answers preflights, and lets browsers read what comes back
        ReportErrors(),  # what is raised below becomes the reply, in the client's dialect
        ValidateCall(),  # provider, method, path, parameters, origin: before any token is looked at
        Authenticate(parts.lookups, parts.clock),  # sets exchange.token
        GuardProject(parts.lookups),  # sets exchange.project; inactive is 403
        LimitRate(
            parts.limits, parts.prices, is_recorded=is_recorded
        ),  # models and limits; what it takes is held until the reply has ended
        CountRequest(parts.lookups, parts.usage_counts, parts.clock),  # of the token's lifetime quota
    ]
    if parts.include_usage and is_recorded:
        processors.insert(0, AskForUsage(parts.include_usage))  # outside Record, which reads what this takes out
    running = [p for p in processors if not enabled or type(p).__name__ in (*enabled, *REQUIRED)]
    return compose(running, end=CallUpstream(parts.upstreams, parts.metrics, parts.drains), metrics=parts.metrics)


TIMED_EVERY: Final = 16

# No setting opens the proxy to everybody.
REQUIRED = ("AskForUsage", "ReportErrors", "ValidateCall", "Authenticate", "GuardProject", "LimitRate", "CountRequest")
OPTIONAL = ("Record", "ShareWithOrigins")


def check_names(enabled: Sequence[str]) -> None:
    """Refuses a word of LLM_PROXY_PROCESSORS that names no processor. Raises ConfigError."""
    unknown = [name for name in enabled if name not in REQUIRED + OPTIONAL]
    if unknown:
        known = ", ".join(OPTIONAL)
        raise ConfigError([f"LLM_PROXY_PROCESSORS: no processor {', '.join(unknown)}; optional ones are {known}"])


def compose(processors: Sequence[Processor], *, end: Proceed, metrics: Metrics) -> Proceed:
    """Nests the list, innermost last. One exchange in TIMED_EVERY passes a second nest, which times each processor's
    own way in: for all of them that was a fifteenth of the pipeline's time."""
    proceed, timed = end, end
    for processor in reversed(processors):
        proceed = _link(processor, proceed)
        timed = _link(processor, metrics.timed_until_proceed(type(processor).__name__, timed))
    return _now_and_then(timed, proceed)


def _link(processor: Processor, proceed: Proceed) -> Proceed:
    enter = processor.__call__  # found once
    return lambda exchange: enter(exchange, proceed)


def _now_and_then(timed: Proceed, proceed: Proceed) -> Proceed:
    """The first exchange and each TIMED_EVERY-th after it is timed."""
    turns = cycle((True, *(TIMED_EVERY - 1) * (False,)))

    def enter(exchange: Exchange) -> Awaitable[None]:
        if not next(turns):
            return proceed(exchange)
        exchange.entered_ns = time.monotonic_ns()
        return timed(exchange)

    return enter
