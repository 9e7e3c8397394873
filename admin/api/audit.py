"""/manage/audit: who did what. Newest first; nothing here can be changed."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts.errors import NotFound
from admin.acts.timestamps import milliseconds, rfc3339
from admin.api import paging
from admin.api.operation import Call, Operation, answer
from sql.repositories import audit
from sql.rows import AuditFilter, AuditRow, Outcome

Exact = Annotated[str, Meta(max_length=512)]
Moment = Annotated[datetime, Meta(tz=True)]


class AuditView(Struct, frozen=True):
    id: str
    seq: Annotated[int, Meta(description="Place in the hash chain, from 1.")]
    timestamp: str
    action: str
    actor: str
    outcome: Outcome
    object_kind: str
    object_id: str
    project_id: str | None
    token_id: str | None
    request_id: str | None
    client_ip: str | None
    method: str | None
    path: str | None
    user_agent: str | None
    reason: str | None
    before: Annotated[dict[str, Any], Meta(description="The changed fields as they were.")] | None
    after: Annotated[dict[str, Any], Meta(description="The changed fields as they are.")] | None
    prev_hash: str
    hash: str


class Pagination(Struct, frozen=True):
    page: Annotated[int, Meta(description="null when a cursor was given.")] | None
    page_size: int
    total_count: int
    total_pages: int
    has_next: bool
    has_prev: bool
    next_cursor: str | None


class AuditPage(Struct, frozen=True):
    events: list[AuditView]
    pagination: Pagination


class ListAudit(paging.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cursor: paging.NumberCursor | None = None
    action: Exact | None = None
    actor: Exact | None = None
    outcome: Outcome | None = None
    project_id: Exact | None = None
    token_id: Exact | None = None
    object_kind: Exact | None = None
    object_id: Exact | None = None
    request_id: Exact | None = None
    correlation_id: Annotated[Exact, Meta(description="Another name of request_id.")] | None = None
    client_ip: Exact | None = None
    method: Exact | None = None
    path: Exact | None = None
    search: (
        Annotated[
            Exact,
            Meta(description="Part of any text in it but ids and user_agent."),
        ]
        | None
    ) = None
    start_time: Annotated[Moment, Meta(description="RFC 3339, inclusive.")] | None = None
    end_time: Annotated[Moment, Meta(description="RFC 3339, exclusive.")] | None = None


async def list_audit(call: Call, query: ListAudit) -> Response:
    on = call.deps.stores.main
    wanted = _filter(query)
    before = paging.read_number_cursor(query.cursor)
    rows = await audit.list_page(on, wanted, before=before, limit=query.size + 1, offset=query.offset(query.cursor))
    total = await audit.count(on, wanted)
    page = paging.cut(rows, query.size)
    cursor = paging.number_cursor(page.rows[-1].seq, page.rows[-1].id) if page.has_next else None
    pagination = Pagination(
        page=None if query.cursor else query.page,
        page_size=query.size,
        total_count=total,
        total_pages=-(-total // query.size),
        has_next=page.has_next,
        has_prev=bool(query.cursor) or query.page > 1,
        next_cursor=cursor,
    )
    body = AuditPage([_view(row) for row in page.rows], pagination)
    return answer(body, headers=paging.next_headers(call.url_path, call.query_string, cursor))


async def show_audit(call: Call) -> Response:
    row = await audit.get(call.deps.stores.main, call.ids["id"])
    if row is None:
        raise NotFound("audit event")
    return answer(_view(row))


def _filter(query: ListAudit) -> AuditFilter:
    return AuditFilter(
        action=query.action,
        actor=query.actor,
        outcome=query.outcome,
        project_id=query.project_id,
        token_id=query.token_id,
        object_kind=query.object_kind,
        object_id=query.object_id,
        request_id=query.request_id or query.correlation_id,
        client_ip=query.client_ip,
        method=query.method,
        path=query.path,
        search=query.search,
        since_ms=milliseconds(query.start_time) if query.start_time else None,
        until_ms=milliseconds(query.end_time) if query.end_time else None,
    )


def _view(row: AuditRow) -> AuditView:
    fields = msgspec.structs.asdict(row)
    at_ms = fields.pop("at_ms")
    before, after = fields.pop("before"), fields.pop("after")
    return AuditView(timestamp=rfc3339(at_ms), before=_object(before), after=_object(after), **fields)


def _object(text: str | None) -> dict[str, Any] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])


OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/audit",
        summary="List audit events, newest first",
        act=list_audit,
        query=ListAudit,
        answer=AuditPage,
        scope="audit",
        is_paged=True,
    ),
    Operation(
        method="GET",
        path="/manage/audit/{id}",
        summary="Show an audit event",
        act=show_audit,
        answer=AuditView,
        scope="audit",
    ),
)
