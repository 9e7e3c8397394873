"""What a period has used already, by what the records tell: where a budget's count begins that was lost, or is new.

It lags behind by the events that are still on their way to the records.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

from app.limits.applying import Applied, Call
from app.limits.limits import Spent
from app.limits.periods import Period
from app.limits.resp import CountsAway
from config.clock import Clock
from config.policy import Limit
from sql.errors import StoreError
from sql.repositories import rollups
from sql.repositories.rollups import Totals
from sql.stores import Stores

_COLUMNS: Final = {"project": "project_id", "token": "token_id"}
_GLOB: Final = frozenset("*?[")
_MINUTE_MS: Final = 60_000
_MOST_SUMS: Final = 20


def spent_by_records(stores: Stores, clock: Clock) -> Spent:
    async def spent(applied: Applied, call: Call, period: Period) -> int | None:
        chosen = _chosen(applied.limit, call)
        if chosen is None:
            return None
        since_ms, until_ms, total = period.begins_ms, clock.now_ms() + _MINUTE_MS, Totals()
        try:
            for names in chosen:
                total += await rollups.spent(stores.records, since_ms=since_ms, until_ms=until_ms, **names)
        except StoreError as error:
            raise CountsAway(f"the records cannot say what was used: {error}") from error
        return _measured(applied.limit, total)

    return spent


def _chosen(limit: Limit, call: Call) -> list[dict[str, Any]] | None:
    """What to sum up; None where the records' sums do not tell apart what the limit does."""
    if "endpoint" in limit.per or "endpoint" in limit.only or _has_patterns(limit):
        return None
    apart = {name: [getattr(call, name)] for name in limit.per}
    if "token" in apart:
        apart["project"] = [call.project]  # the token's own, by which sums are found
    together = {name: _values(name, globs, call) for name, globs in limit.only.items() if name not in apart}
    dimensions = {**apart, **together}
    if math.prod(len(values) for values in dimensions.values()) > _MOST_SUMS:
        return None
    names = [_COLUMNS.get(name, name) for name in dimensions]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*dimensions.values())]


def _has_patterns(limit: Limit) -> bool:
    return any(_GLOB & set(glob) for globs in limit.only.values() for glob in globs)


def _values(name: str, globs: Sequence[str], call: Call) -> list[str]:
    """A project that is named by its name has the id of the call's."""
    if name != "project":
        return list(globs)
    return [call.project if glob == call.project_name else glob for glob in globs]


def _measured(limit: Limit, total: Totals) -> int:
    inputs = (
        total.input_tokens
        + total.cache_read_tokens
        + total.cache_write_tokens
        + total.cache_write_1h_tokens
        + total.audio_input_tokens
    )
    outputs = total.output_tokens + total.reasoning_tokens + total.audio_output_tokens
    by_measure = {
        "requests": total.requests - total.errors,  # what was refused cost none
        "cost": total.cost_microusd or 0,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "tokens": inputs + outputs,
    }
    return by_measure[limit.measure]
