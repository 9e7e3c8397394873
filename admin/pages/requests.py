"""The request log: what passed, found by filters that live in the URL; one exchange with its timings and bodies."""

from collections.abc import Mapping

from starlette.responses import Response

from admin.acts.actor import Target, audit_row
from admin.acts.errors import NotFound
from admin.bodies import body_view
from admin.charts import timeline
from admin.lists import CURSOR, PAGE_ROWS, Query, Whole, address, pager, read_choice, read_cursor
from admin.pages.request_views import PRICED_BY, request_view, request_views, usage_of
from admin.visit import Visit
from admin.windows import HOUR, REQUESTS
from sql.errors import StoreError
from sql.repositories import audit, projects, requests, tokens
from sql.rows import RequestFilter, RequestRow, TokenRow

LIST = "/admin/requests"
COUNT_CAP = 10_000
_MAX_CHOICES = 200
_STATUSES: Mapping[str, tuple[str, int | None]] = {
    "2": ("2xx succeeded", 2),
    "3": ("3xx redirected", 3),
    "4": ("4xx refused", 4),
    "5": ("5xx failed", 5),
    "0": ("nothing sent", 0),
}


class Chosen(Query, frozen=True):
    window: str = HOUR.key
    project: str = ""
    token: str = ""
    model: str = ""
    provider: str = ""
    status: str = ""
    request_id: str = ""

    @property
    def query(self) -> dict[str, str]:
        said = super().query
        return {**said, "window": "" if self.window == HOUR.key else self.window}


def _chosen(query: Mapping[str, str]) -> Chosen:
    said = {name: query.get(name, "")[:200].strip() for name in Chosen.__struct_fields__}
    window = said["window"] if said["window"] in REQUESTS else HOUR.key
    status = said["status"] if said["status"] in _STATUSES else ""
    return Chosen(**{**said, "window": window, "status": status})


def _filter(chosen: Chosen, now_ms: int) -> RequestFilter:
    return RequestFilter(
        project_id=chosen.project or None,
        token_id=chosen.token or None,
        model=chosen.model or None,
        provider=chosen.provider or None,
        status_class=read_choice(chosen.status, {k: v for k, (_, v) in _STATUSES.items()}, None),
        request_id=chosen.request_id or None,
        since_ms=REQUESTS[chosen.window].since(now_ms),
    )


async def list_all(visit: Visit) -> Response:
    parts, query = visit.parts, visit.query
    chosen = _chosen(query)
    wanted = _filter(chosen, parts.clock.now_ms())
    before = read_cursor(query.get(CURSOR), tuple[Whole, str])
    rows = await requests.list_page(parts.stores.records, wanted, before=before, limit=PAGE_ROWS + 1)
    page = rows[:PAGE_ROWS]
    names = await projects.names(parts.stores.main, sorted({row.project_id for row in page if row.project_id}))
    return visit.show_list(
        "requests/list.html",
        "requests/_rows.html",
        address(LIST, chosen.query),
        requests=request_views(page, names),
        total=await requests.count_capped(parts.stores.records, wanted, COUNT_CAP + 1),
        cap=COUNT_CAP,
        chosen=chosen,
        pager=pager(LIST, chosen.query, query, [_key(row) for row in rows]),
        windows=REQUESTS,
        statuses={key: label for key, (label, _) in _STATUSES.items()},
        choices=await projects.list_page(
            parts.stores.main, search=None, is_active=None, after=None, limit=_MAX_CHOICES
        ),
        providers=parts.provider_names,
    )


def _key(row: RequestRow) -> tuple[int, str]:
    return row.accepted_at_ms, row.event_id


async def show(visit: Visit) -> Response:
    parts = visit.parts
    row = await requests.get(parts.stores.records, visit.path_id("event_id"))
    if row is None:
        raise NotFound("request")
    names, token = await _owners(visit, row)
    bodies = await requests.bodies(parts.stores.records, row.event_id)
    if bodies:
        await _tell_of_reading(visit, row)
    return visit.show(
        "requests/show.html",
        row=row,
        view=request_view(row, names),
        token=token,
        usage=usage_of(row),
        price=PRICED_BY.get(row.price_source, ""),
        segments=timeline(row.upstream_head_us, row.first_byte_us, row.last_byte_us),
        bodies=[body_view(body) for body in bodies],
    )


async def _tell_of_reading(visit: Visit, row: RequestRow) -> None:
    """What people said is not looked at unseen: as /manage does, before anything is shown."""
    target = Target(kind="request", id=row.event_id, project_id=row.project_id or None, token_id=row.token_id or None)
    async with visit.parts.stores.main.transaction() as tx:
        await audit.append(tx, audit_row(visit.actor(), "request.read_bodies", target), visit.parts.clock.now_ms())


async def _owners(visit: Visit, row: RequestRow) -> tuple[dict[str, str], TokenRow | None]:
    """Names for ids. The records lie apart, so they are shown without names while the other database is away."""
    on = visit.parts.stores.main
    try:
        names = await projects.names(on, [row.project_id] if row.project_id else [])
        return dict(names), await tokens.get(on, row.token_id) if row.token_id else None
    except StoreError:
        return {}, None
