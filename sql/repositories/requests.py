"""Exchanges as recorded, their bodies, and the sums per minute that the overview reads.

`on` is `stores.records`. Lists walk an index; the overview reads one sum per minute and a bounded sample, so that it
costs the same at ten million rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from sql.database import Connection
from sql.repositories import rollups
from sql.repositories.rollups import is_error
from sql.rows import BodyRow, RequestFilter, RequestRow, RequestSummary
from sql.statements import load
from sql.values import after_prefix, as_row

_Q = load("requests")
MINUTE_MS: Final = 60_000
_ALL: Final = "*"  # the sums of all projects together; no project has this id
_SAMPLE: Final = 1000  # the newest of a window: a p95 out of 1000 is one between p94 and p96
_MOST_BUCKETS: Final = 10_000


async def insert_many(on: Connection, rows: Sequence[RequestRow], bodies: Sequence[BodyRow]) -> int:
    """One transaction; returns how many rows were new. Rows that are there already stay as they are.

    Each body belongs to one of `rows`; bodies of rows that are not new are left out, so that a redelivery does not
    bring back what retention or an erasure has deleted.
    """
    if not rows:
        return 0
    by_id = {row.event_id: row for row in rows}
    async with on.transaction() as transaction:
        found = await transaction.insert_rows(_Q.insert, [msgspec.structs.asdict(row) for row in by_id.values()])
        new = [by_id[row["event_id"]] for row in found]
        new_ids = {row.event_id for row in new}
        kept = [body for body in bodies if body.event_id in new_ids]
        if kept:
            await transaction.execute_many(_Q.insert_body, [_body_params(body, by_id) for body in kept])
        if new:
            await transaction.execute_many(_Q.add_minute, _minutes(new))
            await rollups.add(transaction, new)
    return len(new)


async def get(on: Connection, event_id: str) -> RequestRow | None:
    row = await on.fetch_one(_Q.get, {"event_id": event_id})
    return as_row(RequestRow, row) if row else None


async def bodies(on: Connection, event_id: str) -> list[BodyRow]:
    """None, one or two; the request's first."""
    return [as_row(BodyRow, row) for row in await on.fetch_all(_Q.bodies, {"event_id": event_id})]


async def list_page(
    on: Connection, chosen: RequestFilter, *, before: tuple[int, str] | None = None, limit: int
) -> list[RequestRow]:
    """Newest first. `before` is (accepted_at_ms, event_id) of the last row of the page before."""
    at_ms, event_id = before or (None, None)
    params = {**_filter(chosen), "before_at_ms": at_ms, "before_id": event_id, "limit": limit}
    return [as_row(RequestRow, row) for row in await on.fetch_all(_Q.list_page, params)]


async def count_capped(on: Connection, chosen: RequestFilter, cap: int) -> int:
    """How many there are, but never more than `cap`: counting millions would take seconds."""
    row = await on.fetch_one(_Q.count_capped, {**_filter(chosen), "cap": cap})
    return int(row["n"]) if row else 0


async def summary(on: Connection, since_ms: int, until_ms: int, project_id: str | None = None) -> RequestSummary:
    """Sums over whole minutes: the window is widened to them. p50 and p95 are of its newest 1000 exchanges."""
    window = {"since_ms": _minute(since_ms), "until_ms": _minute(until_ms + MINUTE_MS - 1), "project_id": project_id}
    sums = await on.fetch_one(_Q.sums, {**window, "sums_of": project_id or _ALL})
    sample = await on.fetch_all(_Q.durations, {**window, "limit": _SAMPLE})
    durations = sorted(row["last_byte_us"] for row in sample if row["last_byte_us"] is not None)
    return RequestSummary(**(sums or {}), p50_us=_percentile(durations, 0.50), p95_us=_percentile(durations, 0.95))


async def series(on: Connection, since_ms: int, until_ms: int, bucket_ms: int) -> list[tuple[int, int, int]]:
    """(start of the bucket, exchanges, errors), oldest first; empty buckets are left out.

    Buckets begin at multiples of `bucket_ms`. Whole minutes come from the sums (the window is widened to minutes),
    anything finer from the rows: keep such windows short.
    """
    window = {"since_ms": since_ms, "until_ms": until_ms, "bucket_ms": bucket_ms, "limit": _MOST_BUCKETS}
    statement = _Q.fine_series
    if bucket_ms % MINUTE_MS == 0:
        statement = _Q.minute_series
        window |= {"since_ms": _minute(since_ms), "until_ms": _minute(until_ms + MINUTE_MS - 1)}
    rows = await on.fetch_all(statement, {**window, "sums_of": _ALL})
    return [(row["bucket_ms"], row["requests"], row["errors"]) for row in rows]


async def delete_bodies_before(on: Connection, before_ms: int, limit: int) -> int:
    """Deletes at most `limit` bodies of exchanges accepted before then; call again while it returns `limit`."""
    return await on.execute(_Q.delete_bodies_before, {"before_ms": before_ms, "limit": limit})


def _body_params(body: BodyRow, by_id: dict[str, RequestRow]) -> dict[str, object]:
    return {**msgspec.structs.asdict(body), "accepted_at_ms": by_id[body.event_id].accepted_at_ms}


def _minutes(rows: Iterable[RequestRow]) -> list[dict[str, object]]:
    """In the order of their key, so that two dispatchers never wait for each other crosswise."""
    grouped: dict[tuple[str, int], list[RequestRow]] = defaultdict(list)
    for row in rows:
        for sums_of in (row.project_id, _ALL):
            grouped[sums_of, _minute(row.accepted_at_ms)].append(row)
    return [
        {"project_id": sums_of, "minute_ms": minute, **_added_up(group)}
        for (sums_of, minute), group in sorted(grouped.items())
    ]


def _added_up(rows: Sequence[RequestRow]) -> dict[str, int | None]:
    costs = [row.cost_microusd for row in rows if row.cost_microusd is not None]
    return {
        "requests": len(rows),
        "errors": sum(map(is_error, rows)),
        "prompt_tokens": sum(
            (row.input_tokens or 0)
            + (row.cache_read_tokens or 0)
            + (row.cache_write_tokens or 0)
            + (row.cache_write_1h_tokens or 0)
            + (row.audio_input_tokens or 0)
            for row in rows
        ),
        "completion_tokens": sum(
            (row.output_tokens or 0) + (row.reasoning_tokens or 0) + (row.audio_output_tokens or 0) for row in rows
        ),
        "cost_microusd": sum(costs) if costs else None,
    }


def _minute(at_ms: int) -> int:
    return at_ms // MINUTE_MS * MINUTE_MS


def _percentile(ordered: Sequence[int], share: float) -> int | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def _filter(chosen: RequestFilter) -> dict[str, object]:
    params = msgspec.structs.asdict(chosen)
    prefix, status_class = params.pop("request_id"), params.pop("status_class")
    status_from = None if status_class is None else status_class * 100
    return {
        **params,
        "request_id_from": prefix or None,
        "request_id_below": after_prefix(prefix) if prefix else None,
        "status_from": status_from,
        "status_below": None if status_from is None else status_from + 100,
        "failed_from": status_from if status_class is not None and status_class >= 4 else None,
    }
