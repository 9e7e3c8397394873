"""/manage/management-tokens: programs that may manage, each with its scopes.

For MANAGEMENT_TOKEN alone, so that no token can make one that may do more than itself.
"""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts import management_tokens as acts
from admin.acts.errors import NotFound
from admin.acts.timestamps import rfc3339
from admin.api import paging
from admin.api.grace import Rotation, grace_ms
from admin.api.operation import Call, Operation, answer
from admin.api.tokens import MS_PER_MINUTE, Minutes
from sql.repositories import management_tokens
from sql.rows import ManagementTokenRow

Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Unique, also among revoked ones.")
]
Scopes = Annotated[list[acts.Scope], Meta(min_length=1, max_length=16, description="What it may do, nothing else.")]


class ManagementTokenView(Struct, frozen=True):
    id: str
    name: str
    token: Annotated[str, Meta(description="Obfuscated.")]
    scopes: list[str]
    is_active: bool
    created_at: str
    expires_at: str | None
    last_used_at: Annotated[str | None, Meta(description="To the minute.")]
    revoked_at: str | None
    previous_until: Annotated[str | None, Meta(description="Until when the secret before the last rotation is taken.")]


class CreatedManagementToken(Struct, frozen=True):
    id: str
    name: str
    token: Annotated[str, Meta(description="In clear, this once.")]
    scopes: list[str]
    expires_at: str | None
    previous_until: str | None


class NewManagementToken(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    scopes: Scopes
    duration_minutes: Minutes | None = None


class ListManagementTokens(paging.KeysetQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cursor: paging.NumberCursor | None = None


async def list_management_tokens(call: Call, query: ListManagementTokens) -> Response:
    after = paging.read_number_cursor(query.cursor)
    rows = await management_tokens.list_page(call.deps.stores.main, after=after, limit=query.limit + 1)
    page = paging.cut(rows, query.limit)
    last = page.rows[-1] if page.has_next else None
    cursor = paging.number_cursor(last.created_at_ms, last.id) if last else None
    now = call.deps.clock.now_ms()
    views = [_view(row, now) for row in page.rows]
    return answer(views, headers=paging.next_headers(call.url_path, call.query_string, cursor))


async def show_management_token(call: Call) -> Response:
    row = await management_tokens.get(call.deps.stores.main, call.ids["id"])
    if row is None:
        raise NotFound("management token")
    return answer(_view(row, call.deps.clock.now_ms()))


async def create_management_token(call: Call, body: NewManagementToken) -> Response:
    row, token = await acts.create_management_token(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        name=body.name,
        scopes=body.scopes,
        duration_ms=None if body.duration_minutes is None else body.duration_minutes * MS_PER_MINUTE,
    )
    return answer(_created(row, token), status=201, headers={"Location": f"{_ALL}/{row.id}"})


async def rotate_management_token(call: Call, body: Rotation) -> Response:
    row, token = await acts.rotate_management_token(
        call.deps.stores, call.deps.clock, call.actor, call.ids["id"], grace_ms=grace_ms(body.grace)
    )
    return answer(_created(row, token))


async def revoke_management_token(call: Call) -> Response:
    """204 also when it was revoked before."""
    await acts.revoke_management_token(call.deps.stores, call.deps.clock, call.actor, call.ids["id"])
    return Response(status_code=204)


def _created(row: ManagementTokenRow, token: str) -> CreatedManagementToken:
    return CreatedManagementToken(
        id=row.id,
        name=row.name,
        token=token,
        scopes=row.scopes.split(),
        expires_at=rfc3339(row.expires_at_ms),
        previous_until=rfc3339(row.previous_until_ms),
    )


def _view(row: ManagementTokenRow, now_ms: int) -> ManagementTokenView:
    return ManagementTokenView(
        id=row.id,
        name=row.name,
        token=row.hint,
        scopes=row.scopes.split(),
        is_active=not acts.has_ended(row, now_ms),
        created_at=rfc3339(row.created_at_ms),
        expires_at=rfc3339(row.expires_at_ms),
        last_used_at=rfc3339(row.last_used_at_ms),
        revoked_at=rfc3339(row.revoked_at_ms),
        previous_until=rfc3339(row.previous_until_ms),
    )


_ALL = "/manage/management-tokens"
_ONE = "/manage/management-tokens/{id}"

OPERATIONS = (
    Operation(
        method="GET",
        path=_ALL,
        summary="List management tokens, newest first, also those that have ended",
        act=list_management_tokens,
        query=ListManagementTokens,
        answer=list[ManagementTokenView],
        is_paged=True,
        is_closed=True,
    ),
    Operation(
        method="POST",
        path=_ALL,
        summary="Create a management token with scopes",
        act=create_management_token,
        status=201,
        body=NewManagementToken,
        answer=CreatedManagementToken,
        audit_action="management_token.create",
        errors=(409,),
        is_closed=True,
    ),
    Operation(
        method="GET",
        path=_ONE,
        summary="Show a management token",
        act=show_management_token,
        answer=ManagementTokenView,
        is_closed=True,
    ),
    Operation(
        method="POST",
        path=f"{_ONE}/rotate",
        summary="Give a management token another secret; the old one works until the grace ends",
        act=rotate_management_token,
        body=Rotation,
        answer=CreatedManagementToken,
        audit_action="management_token.rotate",
        errors=(409,),
        is_closed=True,
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        summary="Revoke a management token for good",
        act=revoke_management_token,
        status=204,
        audit_action="management_token.revoke",
        is_closed=True,
    ),
)
