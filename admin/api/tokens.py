"""/manage/tokens. The id in a path is the token's id, never the token."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field
from starlette.responses import Response

from admin.acts import tokens as acts
from admin.acts.errors import NotFound
from admin.acts.timestamps import milliseconds, rfc3339
from admin.api import paging
from admin.api.errors import unprocessable
from admin.api.grace import Rotation, grace_ms
from admin.api.operation import Call, Operation, answer
from sql.repositories import projects, tokens
from sql.rows import TokenRow

MS_PER_MINUTE = 60_000
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Minutes = Annotated[int, Meta(ge=1, le=525_600, description="null: it never expires.")]
MaxRequests = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Lifetime quota; 0 or null: unlimited.")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339; null: it never expires.")]


class TokenView(Struct, frozen=True):
    id: str
    token: Annotated[str, Meta(description="Obfuscated.")]
    project_id: str
    is_active: bool
    expires_at: str | None
    request_count: int
    max_requests: int | None
    cache_hit_count: int
    created_at: str
    last_used_at: str | None
    deactivated_at: str | None
    previous_until: Annotated[str | None, Meta(description="Until when the secret before the last rotation works.")]


class RotatedToken(Struct, frozen=True):
    id: str
    token: Annotated[str, Meta(description="In clear, this once.")]
    project_id: str
    expires_at: str | None
    max_requests: int | None
    previous_until: Annotated[str | None, Meta(description="Until when the old secret works.")]


class CreatedToken(Struct, frozen=True):
    id: str
    token: Annotated[str, Meta(description="In clear, this once.")]
    project_id: str
    expires_at: str | None
    max_requests: int | None


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    project_id: Id
    duration_minutes: Minutes | None
    max_requests: MaxRequests | None = None


class TokenPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is, and so do the counts."""

    is_active: bool | UnsetType = UNSET
    max_requests: MaxRequests | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET


class TokenFilter(paging.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cursor: paging.NumberCursor | None = None
    is_active: bool | None = None
    is_expired: bool | None = None
    is_used_up: bool | None = None
    active_only: Annotated[bool, Meta(description="Older name of is_active=true.")] = False
    active_only_camel: Annotated[bool, Meta(description="Older name of is_active=true.")] = field(
        name="activeOnly", default=False
    )

    @property
    def wants_active(self) -> bool | None:
        return True if self.active_only or self.active_only_camel else self.is_active


class ListProjectTokens(TokenFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ListTokens(TokenFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    project_id: Id | None = None
    project_id_camel: Annotated[Id, Meta(description="Older name of project_id.")] | None = field(
        name="projectId", default=None
    )


async def list_tokens(call: Call, query: ListTokens) -> Response:
    return await _list(call, query, query.project_id or query.project_id_camel)


async def list_project_tokens(call: Call, query: ListProjectTokens) -> Response:
    if await projects.get(call.deps.stores.main, call.ids["id"]) is None:
        raise NotFound("project")
    return await _list(call, query, call.ids["id"])


async def _list(call: Call, query: TokenFilter, project_id: str | None) -> Response:
    rows = await tokens.list_page(
        call.deps.stores.main,
        project_id=project_id,
        is_active=query.wants_active,
        is_expired=query.is_expired,
        is_used_up=query.is_used_up,
        now_ms=call.deps.clock.now_ms(),
        after=paging.read_number_cursor(query.cursor),
        limit=query.size + 1,
        offset=query.offset(query.cursor),
    )
    page = paging.cut(rows, query.size)
    last = page.rows[-1] if page.has_next else None
    cursor = paging.number_cursor(last.created_at_ms, last.id) if last else None
    views = [_view(row) for row in page.rows]
    return answer(views, headers=paging.next_headers(call.url_path, call.query_string, cursor))


async def create_token(call: Call, body: NewToken) -> Response:
    row, token = await acts.create_token(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        project_id=body.project_id,
        duration_ms=None if body.duration_minutes is None else body.duration_minutes * MS_PER_MINUTE,
        max_requests=body.max_requests,
    )
    created = CreatedToken(row.id, token, row.project_id, rfc3339(row.expires_at_ms), row.max_requests)
    return answer(created, status=201, headers={"Location": f"/manage/tokens/{row.id}"})


async def show_token(call: Call) -> Response:
    row = await tokens.get(call.deps.stores.main, call.ids["id"])
    if row is None:
        raise NotFound("token")
    return answer(_view(row))


async def change_token(call: Call, body: TokenPatch) -> Response:
    if body == TokenPatch():
        raise unprocessable({"": "no fields to update: is_active, max_requests or expires_at"})
    row = await acts.update_token(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        call.ids["id"],
        is_active=None if isinstance(body.is_active, UnsetType) else body.is_active,
        max_requests=body.max_requests,
        expires_at_ms=milliseconds(body.expires_at) if isinstance(body.expires_at, datetime) else body.expires_at,
    )
    return answer(_view(row))


async def rotate_token(call: Call, body: Rotation) -> Response:
    row, token = await acts.rotate_token(
        call.deps.stores, call.deps.clock, call.actor, call.ids["id"], grace_ms=grace_ms(body.grace)
    )
    rotated = RotatedToken(
        id=row.id,
        token=token,
        project_id=row.project_id,
        expires_at=rfc3339(row.expires_at_ms),
        max_requests=row.max_requests,
        previous_until=rfc3339(row.previous_until_ms),
    )
    return answer(rotated)


async def revoke_token(call: Call) -> Response:
    """204 also when it was revoked before."""
    await acts.revoke_token(call.deps.stores, call.deps.clock, call.actor, call.ids["id"])
    return Response(status_code=204)


def _view(row: TokenRow) -> TokenView:
    return TokenView(
        id=row.id,
        token=row.hint,
        project_id=row.project_id,
        is_active=row.is_active,
        expires_at=rfc3339(row.expires_at_ms),
        request_count=row.request_count,
        max_requests=row.max_requests,
        cache_hit_count=row.cache_hit_count,
        created_at=rfc3339(row.created_at_ms),
        last_used_at=rfc3339(row.last_used_at_ms),
        deactivated_at=rfc3339(row.deactivated_at_ms),
        previous_until=rfc3339(row.previous_until_ms),
    )


_ALL = "/manage/tokens"
_ONE = "/manage/tokens/{id}"

OPERATIONS = (
    Operation(
        method="GET",
        path=_ALL,
        summary="List tokens, newest first",
        act=list_tokens,
        query=ListTokens,
        answer=list[TokenView],
        is_paged=True,
    ),
    Operation(
        method="POST",
        path=_ALL,
        summary="Create a token",
        act=create_token,
        status=201,
        body=NewToken,
        answer=CreatedToken,
        scope="tokens",
        audit_action="token.create",
        errors=(403, 404),
    ),
    Operation(
        method="GET",
        path="/manage/projects/{id}/tokens",
        summary="List a project's tokens, newest first",
        act=list_project_tokens,
        query=ListProjectTokens,
        answer=list[TokenView],
        is_paged=True,
    ),
    Operation(method="GET", path=_ONE, summary="Show a token", act=show_token, answer=TokenView),
    Operation(
        method="PATCH",
        path=_ONE,
        summary="Change a token; reactivated, it goes on where it stopped",
        act=change_token,
        body=Annotated[TokenPatch, Meta(extra_json_schema={"minProperties": 1})],
        answer=TokenView,
        scope="tokens",
        audit_action="token.update",
    ),
    Operation(
        method="POST",
        path=f"{_ONE}/rotate",
        summary="Give a token another secret; the old one works until the grace ends",
        act=rotate_token,
        body=Rotation,
        answer=RotatedToken,
        scope="tokens",
        audit_action="token.rotate",
        errors=(409,),
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        summary="Revoke a token",
        act=revoke_token,
        status=204,
        scope="tokens",
        audit_action="token.revoke",
    ),
)
