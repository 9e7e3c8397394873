"""The first page: how much, how well, how fast, and whether records arrive. Each part fails by itself."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from msgspec import Struct
from starlette.responses import Response

from admin.asking import ask_standing, what_to_do
from admin.charts import Bars, bars
from admin.counting import workers_alone
from admin.pages.backend_views import backend_views, summary
from admin.pages.request_views import RequestView, request_views
from admin.parts import Parts
from admin.visit import Visit
from admin.windows import HOUR, OVERVIEW, Window
from bus.errors import BusUnavailable
from bus.standing import Standing
from sql.errors import StoreError
from sql.repositories import projects, requests, tokens
from sql.rows import RequestFilter, RequestSummary

NEWEST = 10
T = TypeVar("T")


class FirstSteps(Struct, frozen=True):
    """What a newcomer has done already."""

    has_project: bool
    has_token: bool
    has_request: bool

    @property
    def are_done(self) -> bool:
        return self.has_project and self.has_token and self.has_request


class Traffic(Struct, frozen=True):
    summary: RequestSummary
    chart: Bars
    newest: list[RequestView]


async def show(visit: Visit) -> Response:
    """A part whose source is away is None, and the page says so in its place."""
    parts, query = visit.parts, visit.query
    window = OVERVIEW.get(query.get("window", ""), HOUR)
    now = parts.clock.now_ms()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_standing(parts), name="ask the bus")
        traffic = await _or_none(_traffic(parts, window, now))
        steps = await _or_none(_first_steps(parts, now))
    stand = asked.result()
    return visit.show(
        "overview/page.html",
        "overview/_figures.html",
        window=window,
        windows=OVERVIEW,
        is_paused=query.get("updates") == "off",
        traffic=traffic,
        summary=summary(stand, backend_views(stand)) if stand else None,
        what_to_do=what_to_do(parts.settings),
        workers_alone=await asyncio.to_thread(workers_alone, parts.settings),
        steps=steps,
        now_ms=now,
    )


async def _traffic(parts: Parts, window: Window, now_ms: int) -> Traffic:
    on, since, until = parts.stores.records, window.since(now_ms), window.until(now_ms)
    summary = await requests.summary(on, since, until, None)
    series = await requests.series(on, since, until, window.bucket_ms)
    newest = await requests.list_page(on, RequestFilter(), before=None, limit=NEWEST)
    ids = sorted({row.project_id for row in newest if row.project_id})
    names = await _or_none(projects.names(parts.stores.main, ids))
    return Traffic(summary, bars(series, since, until, window.bucket_ms), request_views(newest, names or {}))


async def _standing(parts: Parts) -> Standing | None:
    try:
        return await ask_standing(parts.settings)
    except BusUnavailable:
        return None


async def _first_steps(parts: Parts, now_ms: int) -> FirstSteps:
    on = parts.stores.main
    has_project = await projects.list_page(on, search=None, is_active=None, after=None, limit=1)
    has_token = await tokens.list_page(
        on, project_id=None, is_active=None, is_expired=None, now_ms=now_ms, after=None, limit=1
    )
    has_request = await requests.list_page(parts.stores.records, RequestFilter(), before=None, limit=1)
    return FirstSteps(bool(has_project), bool(has_token), bool(has_request))


async def _or_none(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except StoreError:
        return None
