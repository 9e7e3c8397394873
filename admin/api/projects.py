"""/manage/projects"""

from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts import projects as acts
from admin.acts import tokens as token_acts
from admin.acts.actor import Target, record_refusal
from admin.acts.errors import NotFound
from admin.acts.timestamps import rfc3339
from admin.api import paging
from admin.api.api_keys import default_key, key_meta, keys_of
from admin.api.errors import ApiError
from admin.api.operation import Call, Operation, answer
from config.secret import Secret
from sql.repositories import projects
from sql.rows import ApiKeyRow, OnDisconnect, ProjectRow, Recording

_NAME_PATTERN = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=_NAME_PATTERN, description="Unique.")]
KeyText = Annotated[str, key_meta("Key of the default provider.")]
RecordingChoice = Annotated[Recording, Meta(description="full: bodies too; metadata: no bodies; off: nothing.")]

LeavingChoice = Annotated[
    OnDisconnect,
    Meta(description="When a client leaves: cancel the upstream's answer, or drain it to its end for its usage."),
]


class ProjectView(Struct, frozen=True):
    id: str
    name: str
    api_key: Annotated[str, Meta(description="The default provider's, obfuscated; empty when there is none.")]
    api_key_count: Annotated[int, Meta(description="Of all providers; null when they do not open.")] | None
    is_active: bool
    recording: Recording
    on_disconnect: OnDisconnect
    created_at: str
    updated_at: str
    deactivated_at: str | None


class NewProject(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    api_key: KeyText | None = None
    recording: RecordingChoice = "full"
    on_disconnect: LeavingChoice = "cancel"


class ProjectPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    name: Name | None = None
    api_key: KeyText | None = None
    is_active: bool | None = None
    recording: RecordingChoice | None = None
    on_disconnect: LeavingChoice | None = None
    revoke_tokens: Annotated[bool, Meta(description="With is_active=false: revoke the project's tokens too.")] = False


class RevokedView(Struct, frozen=True):
    revoked_count: int
    already_revoked_count: int
    total_tokens: int


class ListProjects(paging.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cursor: paging.NameCursor | None = None
    search: Annotated[str, Meta(max_length=200, description="Part of the name.")] | None = None
    is_active: bool | None = None


async def list_projects(call: Call, query: ListProjects) -> Response:
    rows = await projects.list_page(
        call.deps.stores.main,
        search=query.search,
        is_active=query.is_active,
        after=paging.read_name_cursor(query.cursor),
        limit=query.size + 1,
        offset=query.offset(query.cursor),
    )
    page = paging.cut(rows, query.size)
    last = page.rows[-1] if page.has_next else None
    cursor = paging.name_cursor(last.name, last.id) if last else None
    views = await _views(call, page.rows)
    return answer(views, headers=paging.next_headers(call.url_path, call.query_string, cursor))


async def create_project(call: Call, body: NewProject) -> Response:
    row = await acts.create_project(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        name=body.name,
        api_key=_secret(body.api_key),
        recording=body.recording,
        on_disconnect=body.on_disconnect,
        provider=call.deps.providers.default.name,
    )
    return await _answer(call, row, status=201, headers={"Location": f"/manage/projects/{row.id}"})


async def show_project(call: Call) -> Response:
    row = await projects.get(call.deps.stores.main, call.ids["id"])
    if row is None:
        raise NotFound("project")
    return await _answer(call, row)


async def change_project(call: Call, body: ProjectPatch) -> Response:
    row = await acts.update_project(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        call.ids["id"],
        name=body.name,
        is_active=body.is_active,
        recording=body.recording,
        on_disconnect=body.on_disconnect,
        api_key=_secret(body.api_key),
        revoke_tokens=body.revoke_tokens,
        provider=call.deps.providers.default.name,
    )
    return await _answer(call, row)


async def refuse_deletion(call: Call) -> Response:
    """Records name a project for ever, so it is never deleted, only switched off."""
    target = Target(kind="project", id=call.ids["id"])
    await record_refusal(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        "project.delete",
        target,
        outcome="failure",
        reason="project deletion is not permitted",
    )
    raise ApiError(
        405,
        "method_not_allowed",
        "method not allowed",
        headers={"Allow": "GET, HEAD, PATCH, OPTIONS"},
        message="project deletion is not permitted; switch it off with PATCH is_active=false",
    )


async def revoke_tokens(call: Call) -> Response:
    count = await token_acts.revoke_all(call.deps.stores, call.deps.clock, call.actor, call.ids["id"])
    return answer(RevokedView(count.revoked, count.already_revoked, count.total))


async def _answer(call: Call, row: ProjectRow, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    [view] = await _views(call, [row])
    return answer(view, status=status, headers=headers)


async def _views(call: Call, rows: list[ProjectRow]) -> list[ProjectView]:
    keys = await keys_of(call.deps.stores, [row.id for row in rows])
    return [_view(row, keys[row.id], call.deps.providers.default.name) for row in rows]


def _view(row: ProjectRow, keys: list[ApiKeyRow] | None, provider: str) -> ProjectView:
    return ProjectView(
        id=row.id,
        name=row.name,
        api_key=default_key(keys, provider),
        api_key_count=None if keys is None else len(keys),
        is_active=row.is_active,
        recording=row.recording,
        on_disconnect=row.on_disconnect,
        created_at=rfc3339(row.created_at_ms),
        updated_at=rfc3339(row.updated_at_ms),
        deactivated_at=rfc3339(row.deactivated_at_ms),
    )


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


_ONE = "/manage/projects/{id}"
_REVOKES_ONLY_WITH = {
    "if": {"properties": {"revoke_tokens": {"const": True}}, "required": ["revoke_tokens"]},
    "then": {"properties": {"is_active": {"const": False}}, "required": ["is_active"]},
}

OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/projects",
        summary="List projects, by name",
        act=list_projects,
        query=ListProjects,
        answer=list[ProjectView],
        is_paged=True,
    ),
    Operation(
        method="POST",
        path="/manage/projects",
        summary="Create a project",
        act=create_project,
        status=201,
        body=NewProject,
        answer=ProjectView,
        scope="projects",
        audit_action="project.create",
        errors=(409,),
    ),
    Operation(method="GET", path=_ONE, summary="Show a project", act=show_project, answer=ProjectView),
    Operation(
        method="PATCH",
        path=_ONE,
        summary="Change a project; an inactive one gets 403 on every call",
        act=change_project,
        body=Annotated[ProjectPatch, Meta(extra_json_schema=_REVOKES_ONLY_WITH)],
        answer=ProjectView,
        scope="projects",
        audit_action="project.update",
        errors=(409,),
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        summary="Refused: projects are switched off, not deleted",
        act=refuse_deletion,
        status=405,
        scope="projects",
    ),
    Operation(
        method="POST",
        path="/manage/projects/{id}/tokens/revoke",
        summary="Revoke all tokens of a project",
        act=revoke_tokens,
        answer=RevokedView,
        scope="tokens",
        audit_action="token.revoke_batch",
    ),
)
