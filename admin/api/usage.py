"""/manage/usage: how much was used and what it cost, per minute, hour or day, read from the roll-ups."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts.timestamps import milliseconds, rfc3339
from admin.api import paging
from admin.api.operation import Call, Operation, answer
from sql.repositories import rollups
from sql.repositories.rollups import LENGTH_MS, By, Period, PeriodUsage

Exact = Annotated[str, Meta(min_length=1, max_length=512)]
Moment = Annotated[datetime, Meta(tz=True)]
# A position like the other cursors, but names of end users may be any text.
Cursor = Annotated[
    str, Meta(pattern=r"^[0-9]{1,15}\.([0-9a-f]{2}){0,600}$", description="From x-next-cursor of the page before.")
]
PERIODS_OF_A_PAGE = {"minute": 1_500, "hour": 744, "day": 31}
"""A page costs what these hold, so it may be short, or empty, before the end."""
_USUAL_PERIODS = {"minute": 60, "hour": 24, "day": 31}


class UsageView(Struct, frozen=True):
    start: Annotated[str, Meta(description="When the period begins.")]
    name: Annotated[str, Meta(description="Of what `by` says; empty where an exchange had none; `(other)`: the rest.")]
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cost_microusd: Annotated[int, Meta(description="Of what has a price; null when nothing has.")] | None
    cost_unknown: Annotated[int, Meta(description="Exchanges with usage that has no price.")]
    estimated: Annotated[int, Meta(description="Exchanges whose usage is our estimate.")]


class ShowUsage(paging.KeysetQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    by: By = "project"
    every: Period = "day"
    cursor: Cursor | None = None
    since: Annotated[Moment, Meta(description="RFC 3339; else the last 60 minutes, 24 hours or 31 days.")] | None = None
    until: Annotated[Moment, Meta(description="RFC 3339, exclusive; else now.")] | None = None
    project_id: Exact | None = None
    token_id: Exact | None = None
    provider: Exact | None = None
    model: Exact | None = None
    end_user: Exact | None = None


async def show_usage(call: Call, query: ShowUsage) -> Response:
    after = _read_cursor(query.cursor)
    since_ms, until_ms = _window(query, call.deps.clock.now_ms())
    records, length_ms = call.deps.stores.records, LENGTH_MS[query.every]
    first_ms = await rollups.first_start(records, query.every, after[0] if after else since_ms, until_ms)
    end_ms = min(until_ms, (until_ms if first_ms is None else first_ms) + PERIODS_OF_A_PAGE[query.every] * length_ms)
    rows = await rollups.usage(
        records,
        query.by,
        query.every,
        since_ms=end_ms if first_ms is None else first_ms,
        until_ms=end_ms,
        project_id=query.project_id,
        token_id=query.token_id,
        provider=query.provider,
        model=query.model,
        end_user=query.end_user,
        after=after,
        limit=query.limit + 1,
    )
    page = paging.cut(rows, query.limit)
    goes_on_at = (end_ms - 1, "") if end_ms < until_ms else None
    if page.has_next:
        goes_on_at = (page.rows[-1].start_ms, page.rows[-1].name)
    cursor = f"{goes_on_at[0]}.{goes_on_at[1].encode().hex()}" if goes_on_at else None
    views = [_view(row) for row in page.rows]
    return answer(views, headers=paging.next_headers(call.url_path, call.query_string, cursor))


def _window(query: ShowUsage, now_ms: int) -> tuple[int, int]:
    """Whole periods: the one that `since` lies in is the first."""
    length_ms = LENGTH_MS[query.every]
    until_ms = milliseconds(query.until) if query.until else now_ms + 1
    usual_ms = until_ms - (_USUAL_PERIODS[query.every] - 1) * length_ms - 1
    return (milliseconds(query.since) if query.since else usual_ms) // length_ms * length_ms, until_ms


def _read_cursor(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    start, _, name = cursor.partition(".")
    return int(start), bytes.fromhex(name).decode(errors="replace")


def _view(row: PeriodUsage) -> UsageView:
    fields: dict[str, Any] = msgspec.structs.asdict(row)
    return UsageView(start=rfc3339(fields.pop("start_ms")), **fields)


OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/usage",
        summary="Show usage and cost per minute, hour or day, oldest first; a page may be short before the end",
        act=show_usage,
        query=ShowUsage,
        answer=list[UsageView],
        is_paged=True,
    ),
)
