"""The policy document: what may be asked of the gateway, how often, and for how much. Admins edit it; workers follow.

limits:
  - {name: fair share, measure: requests, most: 600, window: 1m, per: [token]}
  - {name: team budget, measure: cost, most: 250, window: month, time_zone: Europe/Berlin, only: {project: [p-1]}}
models:
  - {only: {project: [p-1]}, allow: [gpt-*, text-embedding-3-*]}
unlisted_models: allow
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from config.durations import duration_ms
from config.errors import ConfigError
from config.limit_settings import LimitSettings

Dimension = Literal["project", "token", "end_user", "model", "provider", "endpoint"]
Measure = Literal["requests", "tokens", "input_tokens", "output_tokens", "parallel", "cost"]
WhenAway = Literal["share", "open", "closed"]
Globs = tuple[str, ...]

SETTINGS_LIMIT: Final = "DISTRIBUTED_RATE_LIMIT"
CALENDAR: Final = ("day", "week", "month")
_NAME: Final = re.compile(r"[\w][\w .:/-]{0,63}", re.ASCII)
_SHORTEST_MS, _LONGEST_MS = 1000, 24 * 3_600_000
_MOST_LIMITS: Final = 200
_LARGEST: Final = 1e9
_SHOWN: Final = 40  # of a value that is wrong


class Limit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of one measure, counted apart for each value of the dimensions in `per`, for the calls that `only` names."""

    name: str
    """Told to whoever meets it."""
    measure: Measure
    most: Annotated[float, Meta(ge=0)]
    """US dollars for cost, else a whole number."""
    window: str = ""
    """`1s` to `24h` slides; `day`, `week`, `month` follow the calendar; `lifetime`. Empty with parallel alone."""
    per: tuple[Dimension, ...] = ()
    only: dict[Dimension, Globs] = {}
    """Dimension to patterns (`*` and `?`), one of which must match."""
    time_zone: str = "UTC"
    mode: Literal["enforce", "shadow"] = "enforce"
    """`shadow` counts and tells, and refuses nothing."""
    when_away: WhenAway = "share"
    """While the shared counts cannot be asked: a worker's share of the limit, everything, or nothing."""

    @property
    def window_ms(self) -> int:
        """Of a sliding window; 0 for the others."""
        return 0 if self.is_total or self.measure == "parallel" else duration_ms(self.window)

    @property
    def is_total(self) -> bool:
        return self.window in (*CALENDAR, "lifetime")

    @property
    def units(self) -> int:
        """`most` as it is counted: micro-dollars for cost."""
        return round(self.most * 1_000_000) if self.measure == "cost" else int(self.most)


class ModelRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For the calls that `only` names, one of these models."""

    allow: Globs
    only: dict[Dimension, Globs] = {}


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    limits: tuple[Limit, ...] = ()
    models: tuple[ModelRule, ...] = ()
    unlisted_models: Literal["allow", "deny"] = "allow"
    """What happens to calls that no rule of `models` names."""
    assumed_output_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 512
    """Reserved for a call that does not say how long its answer may become."""


def read_policy(document: Any) -> Policy:
    """From decoded JSON or YAML. Raises ConfigError with every mistake."""
    try:
        policy = msgspec.convert(document, Policy)
    except msgspec.ValidationError as error:
        raise ConfigError([str(error)]) from error
    if mistakes := list(_mistakes(policy)):
        raise ConfigError(mistakes)
    return policy


def with_settings(policy: Policy, settings: LimitSettings) -> Policy:
    """With the one limit that DISTRIBUTED_RATE_LIMIT_* sets. Raises ConfigError."""
    if not settings.distributed_rate_limit_enabled:
        return policy
    limit = Limit(
        name=SETTINGS_LIMIT,
        measure="requests",
        most=settings.distributed_rate_limit_max,
        window=settings.distributed_rate_limit_window,
        per=("token",),
        when_away="share" if settings.distributed_rate_limit_fallback else "closed",
    )
    if mistakes := list(_limit_mistakes(limit)):
        raise ConfigError([f"DISTRIBUTED_RATE_LIMIT_*: {mistake}" for mistake in mistakes])
    return replace(policy, limits=(limit, *policy.limits))


def _mistakes(policy: Policy) -> Iterator[str]:
    if len(policy.limits) > _MOST_LIMITS:
        yield f"limits: {len(policy.limits)} are too many; {_MOST_LIMITS} at most"
    for name, times in Counter(limit.name for limit in policy.limits).items():
        if times > 1:
            yield f"limits: the name {name[:_SHOWN]!r} stands there {times} times; counts are kept by name"
        if name == SETTINGS_LIMIT:
            yield f"limits: the name {name!r} is that of the limit which DISTRIBUTED_RATE_LIMIT_* sets"
    for number, limit in enumerate(policy.limits):
        for mistake in _limit_mistakes(limit):
            yield f"limits[{number}] {limit.name[:_SHOWN]!r}: {mistake}"
    for number, rule in enumerate(policy.models):
        yield from (f"models[{number}]: {mistake}" for mistake in _only_mistakes(rule.only))
        if not rule.allow:
            yield f"models[{number}]: allow needs a pattern; ['*'] allows all"
        if "model" in rule.only:
            yield f"models[{number}]: only.model says the same as allow; leave it out"


def _limit_mistakes(limit: Limit) -> Iterator[str]:
    if not _NAME.fullmatch(limit.name):
        yield "a name is 1 to 64 letters, digits, spaces or any of . : / _ -"
    yield from _most_mistakes(limit)
    yield from _only_mistakes(limit.only)
    if len(set(limit.per)) != len(limit.per):
        yield "per names something twice"
    yield from _window_mistakes(limit)
    try:
        ZoneInfo(limit.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f"time_zone: {limit.time_zone[:_SHOWN]!r} is not known; write it as Europe/Berlin"


def _most_mistakes(limit: Limit) -> Iterator[str]:
    if limit.most > _LARGEST:
        yield f"most: {limit.most:g} is more than can be counted"
    elif limit.measure == "cost":
        if limit.most and not limit.units:
            yield f"most: {limit.most:g} is less than a millionth of a dollar"
    elif limit.most != int(limit.most):
        yield f"most: {limit.most} is no whole number"


def _only_mistakes(only: dict[Dimension, Globs]) -> Iterator[str]:
    for dimension, globs in only.items():
        if not globs:
            yield f"only.{dimension}: an empty list names no call; leave it out, or give a pattern"


def _window_mistakes(limit: Limit) -> Iterator[str]:
    if limit.measure == "parallel":
        if limit.window:
            yield "window: parallel has none; leave it out"
        return
    if limit.is_total:
        return
    try:
        is_right = _SHORTEST_MS <= duration_ms(limit.window) <= _LONGEST_MS
    except ValueError:
        is_right = False
    if not is_right:
        yield f"window: {limit.window[:_SHOWN]!r} is none of 1s to 24h, day, week, month, lifetime"
