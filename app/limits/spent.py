"""What a period has used already, by what the records tell: where a budget's count begins that was lost, or is new.

It lags behind by the events that are still on their way to the records.
"""

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


def spent_by_records(stores: Stores, clock: Clock) -> Spent:
    async def spent(applied: Applied, call: Call, period: Period) -> int | None:
        chosen = _chosen(applied.limit, call)
        if chosen is None:
            return None
        try:
            until_ms = clock.now_ms() + _MINUTE_MS
            total = await rollups.spent(stores.records, since_ms=period.begins_ms, until_ms=until_ms, **chosen)
        except StoreError as error:
            raise CountsAway(f"the records cannot say what was used: {error}") from error
        return _measured(applied.limit, total)

    return spent


def _chosen(limit: Limit, call: Call) -> dict[str, Any] | None:
    """None where the records' sums do not tell apart what the limit does."""
    if "endpoint" in limit.per or "endpoint" in limit.only:
        return None
    for globs in limit.only.values():
        if len(globs) != 1 or _GLOB & set(globs[0]):
            return None
    return {_COLUMNS.get(name, name): getattr(call, name) for name in {*limit.per, *limit.only}}


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
        "requests": total.requests,
        "cost": total.cost_microusd or 0,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "tokens": inputs + outputs,
    }
    return by_measure[limit.measure]
