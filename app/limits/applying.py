"""Which limits apply to a call, and under which keys they are counted: compiled from the policy, remembered by call."""

import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from app.limits.periods import Period, period_of
from config.policy import Dimension, Globs, Limit, Policy

_REMEMBERED: Final = 10_000  # calls; forgotten all together when there are more
_LONGEST_VALUE: Final = 64  # of a key; longer ones are told by their hash


class Call(Struct, frozen=True):
    """What limits look at. A value that a call does not tell is empty, and counted as one."""

    project: str = ""
    project_name: str = ""
    token: str = ""
    end_user: str = ""
    model: str = ""
    provider: str = ""
    endpoint: str = ""

    def values(self, dimension: Dimension) -> tuple[str, ...]:
        """What a pattern may match."""
        if dimension == "project":
            return self.project, self.project_name
        value: str = getattr(self, dimension)
        return (value,)


class Applied(Struct):
    """A limit, and the part of its key that tells for whom it is counted."""

    limit: Limit
    key: str
    units: int
    window_ms: int
    is_total: bool
    _period: Period | None = None

    def period(self, now_ms: int) -> Period | None:
        """None where the limit has none."""
        if not self.is_total:
            return None
        if self._period is None or not self._period.holds(now_ms):
            self._period = period_of(self.limit.window, self.limit.time_zone, now_ms)
        return self._period


class Rules:
    """A policy, compiled. `secret` keeps users' names out of the keys of a server that others may read."""

    def __init__(self, policy: Policy, *, secret: bytes = b"") -> None:
        self.policy = policy
        self._secret = secret
        self._limits = [(limit, _Only(limit.only)) for limit in policy.limits]
        self._models = [(rule, _Only(rule.only), _any_of(rule.allow)) for rule in policy.models]
        self._remembered: dict[Call, tuple[Applied, ...]] = {}
        named = [*(limit.only for limit in policy.limits), *(rule.only for rule in policy.models)]
        dimensions = {*(d for limit in policy.limits for d in limit.per), *(d for only in named for d in only)}
        self.limits_calls = bool(policy.limits)
        self.limits_models = bool(policy.models) or policy.unlisted_models == "deny"
        self.needs_names = self.limits_models or bool(dimensions & {"model", "end_user"})
        """Whether nothing may go on before its body has said which model it asks, and for whom."""
        self.needs_estimates = any(limit.measure not in ("requests", "parallel") for limit in policy.limits)

    def applied(self, call: Call) -> tuple[Applied, ...]:
        found = self._remembered.get(call)
        if found is None:
            found = tuple(self._applied(limit, call) for limit, only in self._limits if only.names(call))
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[call] = found
        return found

    def admits_model(self, call: Call) -> bool:
        """A rule that names the call must allow its model; where several do, one of them."""
        naming = [allowed for _, only, allowed in self._models if only.names(call)]
        if not naming:
            return self.policy.unlisted_models == "allow"
        return bool(call.model) and any(allowed.fullmatch(call.model) for allowed in naming)

    def _applied(self, limit: Limit, call: Call) -> Applied:
        values = "/".join(self._part(getattr(call, dimension)) for dimension in limit.per)
        key = f"{limit.name}|{limit.measure}|{limit.window}|{','.join(limit.per)}|{values}"
        return Applied(limit, key, limit.units, limit.window_ms, limit.is_total)

    def _part(self, value: str) -> str:
        if not self._secret and len(value) <= _LONGEST_VALUE and re.fullmatch(r"[\w.:@-]*", value, re.ASCII):
            return value
        return "#" + hmac.new(self._secret, value.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]


class _Only:
    def __init__(self, only: Mapping[Dimension, Globs]) -> None:
        self._patterns = [(dimension, _any_of(globs)) for dimension, globs in only.items()]

    def names(self, call: Call) -> bool:
        return all(
            any(pattern.fullmatch(value) for value in call.values(dimension)) for dimension, pattern in self._patterns
        )


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs) or r"(?!)")
