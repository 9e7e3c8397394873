"""What the admin's and /manage's queries cost when there are few and when there are many recorded exchanges."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from config.load import load_settings
from sql import migrate
from sql.database import Params, Row
from sql.repositories import requests
from sql.rows import RequestFilter
from sql.sqlite import SqliteDatabase
from sql.statements import Statement
from sql.stores import open_stores
from tests.bench.filled import PROJECTS, STEP_MS, add_requests

_TRIES: Final = 15
_DAY_MS: Final = 86_400_000
_PAGE: Final = 51
_CAP: Final = 1001


class Query(Struct, frozen=True):
    name: str
    best_ms: float
    median_ms: float
    scans: list[str]
    """Steps of the plan that walk a whole table without an index."""


class Rows(Struct, frozen=True):
    count: int
    made_in_s: float
    file_mib: float
    queries: list[Query]


class Explained:
    """A database that keeps the plan of whatever it is asked."""

    def __init__(self, of: SqliteDatabase) -> None:
        self._of = of
        self.plans: list[str] = []

    async def fetch_all(self, statement: Statement, params: Params) -> list[Row]:
        await self._explain(statement, params)
        return await self._of.fetch_all(statement, params)

    async def fetch_one(self, statement: Statement, params: Params) -> Row | None:
        await self._explain(statement, params)
        return await self._of.fetch_one(statement, params)

    async def _explain(self, statement: Statement, params: Params) -> None:
        asked = statement.given(params)
        explained = Statement("explain", f"EXPLAIN QUERY PLAN {asked.sqlite}", "")
        self.plans += [str(row["detail"]) for row in await self._of.fetch_all(explained, params)]


def measured_rows(count: int) -> Rows:
    with tempfile.TemporaryDirectory(prefix="llm-proxy-rows-") as folder:
        return asyncio.run(_measured(Path(folder), count))


async def _measured(folder: Path, count: int) -> Rows:
    settings = load_settings({"DATA_DIR": str(folder), "ENV": "/dev/null", "LLM_PROXY_DATABASE_TIMEOUT_MS": "600000"})
    stores = open_stores(settings)
    await migrate.up(stores)
    await stores.close()  # whoever fills it wants it alone
    made_in_s = add_requests(folder / "records.db", count)
    stores = open_stores(settings)
    try:
        assert isinstance(stores.records, SqliteDatabase)
        found = [await _query(name, ask, stores.records) for name, ask in _asked(count).items()]
    finally:
        await stores.close()
    return Rows(count, made_in_s, (folder / "records.db").stat().st_size / 2**20, found)


async def _query(name: str, ask: Callable[[Any], Awaitable[object]], on: SqliteDatabase) -> Query:
    explained = Explained(on)
    await ask(explained)
    took_ms = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        await ask(on)
        took_ms.append((time.perf_counter() - began) * 1000)
    scans = [step for step in explained.plans if step.startswith("SCAN") and "INDEX" not in step]
    return Query(name, min(took_ms), sorted(took_ms)[_TRIES // 2], [s for s in scans if s.endswith("requests")])


def _asked(count: int) -> Mapping[str, Callable[[Any], Awaitable[object]]]:
    now = time.time_ns() // 1_000_000
    middle = (now - count * STEP_MS // 2, "")
    one = RequestFilter(project_id=f"p-{PROJECTS // 2}")
    lists = {
        "list, newest": (RequestFilter(), None),
        "list, from the middle": (RequestFilter(), middle),
        "list, a project's": (one, None),
        "list, a token's": (RequestFilter(token_id="t-7"), None),
        "list, a model's": (RequestFilter(model="model-3"), None),
        "list, failed": (RequestFilter(status_class=4), None),
        "list, status 5xx (none)": (RequestFilter(status_class=5), None),
        "list, by code": (RequestFilter(code="quota_exceeded"), None),
        "list, a request's id": (RequestFilter(request_id="req-1234"), None),
        "list, project and model": (RequestFilter(project_id="p-5", model="model-3"), None),
        "list, provider of a day": (RequestFilter(provider="anthropic", since_ms=now - _DAY_MS), None),
    }
    listed = {name: _page(chosen, before) for name, (chosen, before) in lists.items()}
    return listed | {
        "count, capped": lambda on: requests.count_capped(on, RequestFilter(), _CAP),
        "count, a project's": lambda on: requests.count_capped(on, one, _CAP),
        "overview, an hour": lambda on: requests.summary(on, now - _DAY_MS // 24, now),
        "overview, a week": lambda on: requests.summary(on, now - 7 * _DAY_MS, now),
        "chart, a week": lambda on: requests.series(on, now - 7 * _DAY_MS, now, 3_600_000),
        "one exchange (none such)": lambda on: requests.get(on, "nobody"),
    }


def _page(chosen: RequestFilter, before: tuple[int, str] | None) -> Callable[[Any], Awaitable[object]]:
    return lambda on: requests.list_page(on, chosen, before=before, limit=_PAGE)
