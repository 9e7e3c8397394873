"""/manage/requests: the recorded exchanges, read only. Bodies come when asked for, and asking for them is audited."""

import base64
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts.actor import Target, audit_row
from admin.acts.errors import NotFound
from admin.acts.timestamps import milliseconds, rfc3339
from admin.api import paging
from admin.api.operation import Call, Operation, answer
from sql.repositories import audit, requests
from sql.rows import BodyRow, RequestFilter, RequestRow

Exact = Annotated[str, Meta(min_length=1, max_length=512)]
Moment = Annotated[datetime, Meta(tz=True)]


class RequestView(Struct, frozen=True):
    """Durations are microseconds from accept; null is unknown."""

    event_id: str
    request_id: str
    accepted_at: str
    trace_id: str
    method: str
    path: str
    status: int
    code: str
    client_ip: str
    user_agent: str
    project_id: str
    token_id: str
    organisation: str
    session_id: str
    conversation_id: str
    end_user: str
    provider: str
    dialect: str
    model: str
    response_model: str
    response_id: str
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    cost_microusd: int | None
    upstream_head_us: int | None
    first_byte_us: int | None
    last_byte_us: int | None
    overhead_us: int | None
    request_bytes: int
    response_bytes: int
    streamed: bool
    cut: str
    cached: bool
    attempts: int
    usage_source: Annotated[str, Meta(description="provider, estimate, or empty: nothing was counted.")]
    price_source: Annotated[str, Meta(description="provider, list, override, or empty: the cost is unknown.")]
    service_tier: str


class BodyView(Struct, frozen=True):
    side: str
    content_type: str
    content_encoding: str
    truncated: bool
    data_base64: Annotated[str, Meta(description="The bytes as they passed.")]
    text: Annotated[str, Meta(description="The same as text, where they are UTF-8 and not encoded.")] | None


class RequestDetail(RequestView, frozen=True):
    bodies: Annotated[list[BodyView], Meta(description="null unless asked for with bodies=1.")] | None


class ListRequests(paging.KeysetQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cursor: paging.NumberCursor | None = None
    project_id: Exact | None = None
    token_id: Exact | None = None
    model: Exact | None = None
    provider: Exact | None = None
    status_class: Annotated[int, Meta(ge=0, le=5, description="4 for 4xx; 0 for no reply at all.")] | None = None
    code: Exact | None = None
    request_id: Annotated[Exact, Meta(description="Its beginning.")] | None = None
    start_time: Annotated[Moment, Meta(description="RFC 3339, inclusive.")] | None = None
    end_time: Annotated[Moment, Meta(description="RFC 3339, exclusive.")] | None = None


class ShowRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    bodies: Literal["0", "1"] = "0"


async def list_requests(call: Call, query: ListRequests) -> Response:
    before = paging.read_number_cursor(query.cursor)
    rows = await requests.list_page(call.deps.stores.records, _filter(query), before=before, limit=query.limit + 1)
    page = paging.cut(rows, query.limit)
    last = page.rows[-1] if page.has_next else None
    cursor = paging.number_cursor(last.accepted_at_ms, last.event_id) if last else None
    views = [RequestView(**_fields(row)) for row in page.rows]
    return answer(views, headers=paging.next_headers(call.url_path, call.query_string, cursor))


async def show_request(call: Call, query: ShowRequest) -> Response:
    row = await requests.get(call.deps.stores.records, call.ids["event_id"])
    if row is None:
        raise NotFound("request")
    bodies = await _bodies(call, row) if query.bodies == "1" else None
    return answer(RequestDetail(**_fields(row), bodies=bodies))


async def _bodies(call: Call, row: RequestRow) -> list[BodyView]:
    target = Target(kind="request", id=row.event_id, project_id=row.project_id or None, token_id=row.token_id or None)
    async with call.deps.stores.main.transaction() as tx:
        await audit.append(tx, audit_row(call.actor, "request.read_bodies", target), call.deps.clock.now_ms())
    return [_body_view(body) for body in await requests.bodies(call.deps.stores.records, row.event_id)]


def _filter(query: ListRequests) -> RequestFilter:
    return RequestFilter(
        project_id=query.project_id,
        token_id=query.token_id,
        model=query.model,
        provider=query.provider,
        status_class=query.status_class,
        code=query.code,
        request_id=query.request_id,
        since_ms=milliseconds(query.start_time) if query.start_time else None,
        until_ms=milliseconds(query.end_time) if query.end_time else None,
    )


def _fields(row: RequestRow) -> dict[str, Any]:
    fields = msgspec.structs.asdict(row)
    return {**{n: v for n, v in fields.items() if n != "accepted_at_ms"}, "accepted_at": rfc3339(row.accepted_at_ms)}


def _body_view(body: BodyRow) -> BodyView:
    return BodyView(
        side=body.side,
        content_type=body.content_type,
        content_encoding=body.content_encoding,
        truncated=body.truncated,
        data_base64=base64.b64encode(body.data).decode(),
        text=_text(body),
    )


def _text(body: BodyRow) -> str | None:
    if body.content_encoding not in ("", "identity"):
        return None
    try:
        return body.data.decode()
    except UnicodeDecodeError:
        return None


OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/requests",
        summary="List recorded requests, newest first",
        act=list_requests,
        query=ListRequests,
        answer=list[RequestView],
        is_paged=True,
    ),
    Operation(
        method="GET",
        path="/manage/requests/{event_id}",
        summary="Show a recorded request",
        act=show_request,
        query=ShowRequest,
        answer=RequestDetail,
    ),
)
