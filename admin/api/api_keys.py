"""/manage/projects/{id}/api_keys: the providers' keys of a project, several of one provider by weight."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts import api_keys as acts
from admin.acts import key_rotation
from admin.acts.errors import NotFound
from admin.acts.timestamps import rfc3339
from admin.api.errors import check_configured
from admin.api.grace import Grace, grace_ms
from admin.api.operation import Call, Operation, answer
from config.secret import MASK, Secret, obfuscate
from sql.errors import SealBroken
from sql.repositories import api_keys, projects
from sql.rows import ApiKeyRow
from sql.stores import Stores


def key_meta(meaning: str = "") -> Meta:
    """Describes what `admin.acts.rules.api_key` checks, and says it better when it refuses."""
    pattern = r"^(?!enc:)(?!.*\.\.\.)(?!.*\*\*\*\*)[!-~]{1,4096}$"
    description = f"{meaning} 1 to 4096 visible ASCII characters; an obfuscated one is refused.".strip()
    return Meta(description=description, extra_json_schema={"pattern": pattern})


KeyText = Annotated[str, key_meta()]
Weight = Annotated[int, Meta(ge=0, le=1000, description="Share among the keys of this provider; 0 keeps it unused.")]


class ApiKeyView(Struct, frozen=True):
    id: str
    project_id: str
    provider: str
    key: Annotated[str, Meta(description="Obfuscated.")]
    weight: int
    created_at: str
    updated_at: str
    replaced_by: Annotated[str | None, Meta(description="Id of the key that took its place in a rotation.")]
    retires_at: Annotated[str | None, Meta(description="When it is deleted for that; undo the rotation before.")]


class KeyRotation(Struct, frozen=True, forbid_unknown_fields=True):
    key: KeyText
    grace: Grace = "24h"


class NewApiKey(Struct, frozen=True, forbid_unknown_fields=True):
    provider: Annotated[str, Meta(min_length=1, max_length=64, description="A provider that is configured.")]
    key: KeyText
    weight: Weight = 1


class ApiKeyPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    key: KeyText | None = None
    weight: Weight | None = None


async def list_api_keys(call: Call) -> Response:
    project_id = call.ids["id"]
    if await projects.get(call.deps.stores.main, project_id) is None:
        raise NotFound("project")
    rows = await api_keys.for_project(call.deps.stores.main, call.deps.stores.sealer, project_id)
    return answer([_view(row) for row in rows])


async def add_api_key(call: Call, body: NewApiKey) -> Response:
    check_configured(body.provider, call.deps.providers.by_name)
    row = await acts.add_api_key(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        call.ids["id"],
        provider=body.provider,
        key=Secret(body.key),
        weight=body.weight,
    )
    return answer(_view(row), status=201, headers={"Location": f"{call.url_path}/{row.id}"})


async def change_api_key(call: Call, body: ApiKeyPatch) -> Response:
    row = await acts.update_api_key(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        call.ids["id"],
        call.ids["key_id"],
        key=None if body.key is None else Secret(body.key),
        weight=body.weight,
    )
    return answer(_view(row))


async def rotate_api_key(call: Call, body: KeyRotation) -> Response:
    row = await key_rotation.rotate_api_key(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        call.ids["id"],
        call.ids["key_id"],
        key=Secret(body.key),
        grace_ms=grace_ms(body.grace),
    )
    location = f"/manage/projects/{row.project_id}/api_keys/{row.id}"
    return answer(_view(row), status=201, headers={"Location": location})


async def undo_key_rotation(call: Call) -> Response:
    row = await key_rotation.undo_rotation(
        call.deps.stores, call.deps.clock, call.actor, call.ids["id"], call.ids["key_id"]
    )
    return answer(_view(row))


async def remove_api_key(call: Call) -> Response:
    await acts.remove_api_key(call.deps.stores, call.deps.clock, call.actor, call.ids["id"], call.ids["key_id"])
    return Response(status_code=204)


async def keys_of(stores: Stores, project_ids: Sequence[str]) -> dict[str, list[ApiKeyRow] | None]:
    """By provider, oldest first. None for a project whose keys do not open: one must not hide the others."""
    try:
        return {**await api_keys.for_projects(stores.main, stores.sealer, project_ids)}
    except SealBroken:
        return {project_id: await _keys_if_they_open(stores, project_id) for project_id in project_ids}


async def _keys_if_they_open(stores: Stores, project_id: str) -> list[ApiKeyRow] | None:
    try:
        return await api_keys.for_project(stores.main, stores.sealer, project_id)
    except SealBroken:
        return None


def default_key(keys: Sequence[ApiKeyRow] | None, provider: str) -> str:
    """What the API shows as a project's `api_key`."""
    if keys is None:
        return MASK
    shown = (obfuscate(row.key.reveal()) for row in keys if row.provider == provider and not row.replaced_by)
    return next(shown, "")


def _view(row: ApiKeyRow) -> ApiKeyView:
    return ApiKeyView(
        id=row.id,
        project_id=row.project_id,
        provider=row.provider,
        key=obfuscate(row.key.reveal()),
        weight=row.weight,
        created_at=rfc3339(row.created_at_ms),
        updated_at=rfc3339(row.updated_at_ms),
        replaced_by=row.replaced_by,
        retires_at=rfc3339(row.retires_at_ms),
    )


_ALL = "/manage/projects/{id}/api_keys"
_ONE = "/manage/projects/{id}/api_keys/{key_id}"

OPERATIONS = (
    Operation(method="GET", path=_ALL, summary="List a project's API keys", act=list_api_keys, answer=list[ApiKeyView]),
    Operation(
        method="POST",
        path=_ALL,
        summary="Add an API key",
        act=add_api_key,
        status=201,
        body=NewApiKey,
        answer=ApiKeyView,
        scope="projects",
        audit_action="api_key.create",
        errors=(409,),
    ),
    Operation(
        method="PATCH",
        path=_ONE,
        summary="Change an API key or its weight",
        act=change_api_key,
        body=ApiKeyPatch,
        answer=ApiKeyView,
        scope="projects",
        audit_action="api_key.update",
        errors=(409,),
    ),
    Operation(
        method="POST",
        path=f"{_ONE}/rotate",
        summary="Put another API key in its place; the old one is kept, unused, until the grace ends",
        act=rotate_api_key,
        status=201,
        body=KeyRotation,
        answer=ApiKeyView,
        scope="projects",
        audit_action="api_key.rotate",
        errors=(409,),
    ),
    Operation(
        method="POST",
        path=f"{_ONE}/undo-rotation",
        summary="Delete an API key and give its place back to the one that it has replaced",
        act=undo_key_rotation,
        answer=ApiKeyView,
        scope="projects",
        audit_action="api_key.undo_rotation",
        errors=(409,),
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        summary="Remove an API key",
        act=remove_api_key,
        status=204,
        scope="projects",
        audit_action="api_key.delete",
    ),
)
