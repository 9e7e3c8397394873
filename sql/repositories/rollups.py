"""Sums per minute, hour and day, by project, token, provider, model and end user. `on` is `stores.records`.

`requests.insert_many` adds what is new, in the transaction that keeps the rows: the sums are those of the rows, after
crashes and redeliveries too. Periods begin at whole minutes, hours and days of UTC.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from sql.database import Connection
from sql.rows import RequestRow
from sql.statements import load
from sql.values import as_row, without_nul

Period = Literal["minute", "hour", "day"]
By = Literal["project", "token", "provider", "model", "end_user"]

LENGTH_MS: Final[dict[Period, int]] = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
OTHER: Final = "(other)"
"""Stands for the models, or the end users, that are too many for a project's day."""
MOST: Final = {"model": 1_000, "end_user": 10_000}
"""Names of a project with sums of their own on one day. Clients choose them: without a bound they choose our disk."""
_LONGEST_NAME: Final = 128
_FAILED_CUTS: Final = ("upstream", "interrupted")
_Q = load("rollups")
_Name = tuple[int, str, str, str]
"""day_ms, project_id, kind, name"""


class Totals(Struct, frozen=True, kw_only=True):
    """`cost_microusd` is of the exchanges whose cost is known, None when there is none."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cost_microusd: int | None = None
    cost_unknown: int = 0
    """Exchanges with usage that has no price."""
    estimated: int = 0
    """Exchanges whose usage is our estimate."""

    def __add__(self, other: "Totals") -> "Totals":
        both = zip(_SUMMED, msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        sums: dict[str, Any] = {name: _plus(mine, theirs) for name, mine, theirs in both}
        return Totals(**sums)


_SUMMED: Final = Totals.__struct_fields__


class PeriodUsage(Totals, frozen=True, kw_only=True):
    start_ms: int
    name: str
    """Of what it is the usage; empty where an exchange had none."""


async def spent(
    on: Connection,
    *,
    since_ms: int,
    until_ms: int,
    project_id: str | None = None,
    token_id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    end_user: str | None = None,
) -> Totals:
    """Exact when both are the start of a minute that is still kept; else the window is widened to whole minutes.

    Models and end users beyond `MOST` of a day are not told apart.
    """
    chosen = _filter(project_id, token_id, provider, model, end_user)
    total = Totals()
    for period, since, until in whole_periods(since_ms, until_ms):
        row = await on.fetch_one(_Q.spent, {**chosen, "period": period, "since_ms": since, "until_ms": until})
        total += as_row(Totals, row or {})
    return total


async def usage(
    on: Connection,
    by: By,
    every: Period,
    *,
    since_ms: int,
    until_ms: int,
    project_id: str | None = None,
    token_id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    end_user: str | None = None,
    after: tuple[int, str] | None = None,
    limit: int,
) -> list[PeriodUsage]:
    """Periods that begin in the window, oldest first. `after` is (start_ms, name) of the last row before the page."""
    after_ms, after_name = after or (None, None)
    window = {"period": every, "by": by, "since_ms": since_ms, "until_ms": until_ms}
    page = {"after_ms": after_ms, "after_name": after_name, "limit": limit}
    chosen = _filter(project_id, token_id, provider, model, end_user)
    return [as_row(PeriodUsage, row) for row in await on.fetch_all(_Q.usage, {**chosen, **window, **page})]


async def first_start(on: Connection, every: Period, since_ms: int, until_ms: int) -> int | None:
    """When the first period of anybody's in the window begins; None: there is none."""
    row = await on.fetch_one(_Q.first_start, {"period": every, "since_ms": since_ms, "until_ms": until_ms})
    found: int | None = row["start_ms"] if row else None
    return found


async def add(on: Connection, rows: Sequence[RequestRow]) -> None:
    """To be called with rows that are new, in the transaction that keeps them."""
    kept = await _own_names(on, {name for row in rows for name in _names(row)})
    sums: dict[tuple[int, tuple[str, ...]], list[Any]] = {}
    for row in rows:
        key = (row.accepted_at_ms // 60_000 * 60_000, _dimensions(row, kept))
        before = sums.get(key)
        sums[key] = _values(row) if before is None else list(map(_plus, before, _values(row)))
    await on.execute_many(_Q.add, _of_each_period(sums))


async def delete_oldest_minute(on: Connection, before_ms: int) -> int:
    """Deletes the sums of one minute that began before then; call again until it returns 0. Hours and days stay."""
    return await on.execute(_Q.delete_oldest_minute, {"before_ms": before_ms})


async def delete_names_before(on: Connection, before_ms: int) -> int:
    """Forgets who had sums of their own on days before then; the sums stay."""
    return await on.execute(_Q.delete_names_before, {"before_ms": before_ms})


def is_error(row: RequestRow) -> bool:
    """Refused, failed, never ended, or cut off by the upstream. A client that leaves is no error."""
    return row.status >= 400 or row.status < 100 or row.cut in _FAILED_CUTS


def whole_periods(since_ms: int, until_ms: int) -> Iterator[tuple[Period, int, int]]:
    """The window as few runs of periods: minutes to the next hour, hours to the next day, days, and down again."""
    at, end = _floor(since_ms, "minute"), _ceiling(until_ms, "minute")
    steps: tuple[tuple[Period, Period], ...] = (("minute", "hour"), ("hour", "day"))
    for small, large in steps:
        upto = min(_ceiling(at, large), _floor(end, small))
        if at < upto:
            yield small, at, upto
            at = upto
    for period in ("day", "hour", "minute"):
        upto = _floor(end, period)
        if at < upto:
            yield period, at, upto
            at = upto


async def _own_names(on: Connection, wanted: Collection[_Name]) -> set[_Name]:
    """Those of the wanted that are told apart: who was before, and the first ones of a day until there are enough."""
    if not wanted:
        return set()
    found = await on.fetch_all(_Q.known_names, {"rows": _as_json(wanted)})
    kept = {(row["day_ms"], row["project_id"], row["kind"], row["name"]) for row in found}
    groups: dict[tuple[int, str, str], list[_Name]] = defaultdict(list)
    for name in sorted(set(wanted) - kept):
        groups[name[:3]].append(name)
    added: list[_Name] = []
    for (day_ms, project_id, kind), names in groups.items():
        row = await on.fetch_one(_Q.count_names, {"day_ms": day_ms, "project_id": project_id, "kind": kind})
        added += names[: max(0, MOST[kind] - (row["n"] if row else 0))]
    if added:
        await on.execute(_Q.add_names, {"rows": _as_json(added)})
    return kept.union(added)


def _as_json(names: Collection[_Name]) -> str:
    rows = [{"day_ms": day, "project_id": project, "kind": kind, "name": name} for day, project, kind, name in names]
    return msgspec.json.encode(rows).decode()


def _names(row: RequestRow) -> Iterator[_Name]:
    day_ms, project_id = _floor(row.accepted_at_ms, "day"), _text(row.project_id)
    if row.model:
        yield day_ms, project_id, "model", _text(row.model)
    if row.end_user:
        yield day_ms, project_id, "end_user", _text(row.end_user)


def _dimensions(row: RequestRow, kept: Collection[_Name]) -> tuple[str, ...]:
    names = {name[2]: name[3] if name in kept else OTHER for name in _names(row)}
    known = (row.project_id, row.token_id, row.provider)
    return (*map(_text, known), names.get("model", ""), names.get("end_user", ""))


def _values(row: RequestRow) -> list[int | None]:
    """In the order of `Totals`."""
    is_unpriced = row.cost_microusd is None and row.input_tokens is not None
    return [
        1,
        int(is_error(row)),
        row.input_tokens or 0,
        row.cache_read_tokens or 0,
        row.cache_write_tokens or 0,
        row.cache_write_1h_tokens or 0,
        row.output_tokens or 0,
        row.reasoning_tokens or 0,
        row.audio_input_tokens or 0,
        row.audio_output_tokens or 0,
        row.cost_microusd,
        int(is_unpriced),
        int(row.usage_source == "estimate"),
    ]


def _of_each_period(minutes: dict[tuple[int, tuple[str, ...]], list[Any]]) -> list[dict[str, Any]]:
    """In the order of their key, so that two dispatchers never wait for each other crosswise."""
    sums: dict[tuple[str, int, tuple[str, ...]], list[Any]] = {}
    for (minute_ms, dimensions), values in minutes.items():
        for period in LENGTH_MS:
            key = (period, _floor(minute_ms, period), dimensions)
            before = sums.get(key)
            sums[key] = values if before is None else list(map(_plus, before, values))
    names = ("period", "start_ms", "project_id", "token_id", "provider", "model", "end_user", *_SUMMED)
    return [dict(zip(names, (p, start, *of, *values), strict=True)) for (p, start, of), values in sorted(sums.items())]


def _filter(*chosen: str | None) -> dict[str, str | None]:
    names = ("project_id", "token_id", "provider", "model", "end_user")
    return {name: None if value is None else _text(value) for name, value in zip(names, chosen, strict=True)}


def _plus(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _text(value: str) -> str:
    """As it is kept: without NUL, and of a length that an index can hold."""
    return str(without_nul(value))[:_LONGEST_NAME]


def _floor(at_ms: int, period: Period) -> int:
    return at_ms // LENGTH_MS[period] * LENGTH_MS[period]


def _ceiling(at_ms: int, period: Period) -> int:
    return -(-at_ms // LENGTH_MS[period]) * LENGTH_MS[period]
