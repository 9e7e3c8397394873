"""A project's API keys: added, removed, never shown. What is seen of a key is enough to recognise it."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts.api_keys import add_api_key, remove_api_key
from admin.acts.errors import Conflict, Invalid, NotFound
from admin.forms import Filled, Form
from admin.parts import Parts
from admin.visit import Visit
from config.secret import Secret, obfuscate
from sql.errors import SealBroken
from sql.repositories import api_keys, projects


class KeyForm(Form, frozen=True, kw_only=True):
    SAY: ClassVar = {
        "provider": "Choose a provider.",
        "key": "Paste the provider's API key.",
        "weight": "Give a whole number from 0 (kept, not used) to 1000.",
    }
    provider: Annotated[str, Meta(min_length=1)]
    key: Annotated[str, Meta(min_length=1)]
    weight: Annotated[int, Meta(ge=0, le=1000)] = 1


class KeyView(Struct, frozen=True):
    id: str
    provider: str
    masked: str
    weight: int
    created_at_ms: int
    retires_at_ms: int | None
    """Of a key that another one has replaced."""


async def keys_of(parts: Parts, project_id: str) -> list[KeyView] | None:
    """None when they were sealed with another ENCRYPTION_KEY."""
    try:
        rows = await api_keys.for_project(parts.stores.main, parts.stores.sealer, project_id)
    except SealBroken:
        return None
    return [
        KeyView(r.id, r.provider, obfuscate(r.key.reveal()), r.weight, r.created_at_ms, r.retires_at_ms) for r in rows
    ]


async def add(visit: Visit) -> Response:
    project_id = visit.path_id("project_id")
    filled = Filled(KeyForm, visit.form, secret=("key",))
    if not filled.errors and filled.form.provider not in visit.parts.providers.by_name:
        filled.errors["provider"] = KeyForm.SAY["provider"]
    if not filled.errors:
        form = filled.form
        try:
            await add_api_key(
                visit.parts.stores,
                visit.parts.clock,
                visit.actor(),
                project_id,
                provider=form.provider,
                key=Secret(form.key),
                weight=form.weight,
            )
            return await _changed(visit, project_id, "key_added")
        except (Invalid, Conflict) as error:
            filled.refuse(error)
    return await _show(visit, project_id, filled.values, filled.errors)


async def remove(visit: Visit) -> Response:
    project_id, key_id = visit.path_id("project_id"), visit.path_id("key_id")
    if not visit.is_confirmed:
        return await _ask_remove(visit, project_id, key_id)
    await remove_api_key(visit.parts.stores, visit.parts.clock, visit.actor(), project_id, key_id)
    return await _changed(visit, project_id, "key_removed")


async def _ask_remove(visit: Visit, project_id: str, key_id: str) -> Response:
    key = next((k for k in await keys_of(visit.parts, project_id) or [] if k.id == key_id), None)
    if key is None:
        raise NotFound("API key")
    return visit.confirm(
        question=f"Remove the {key.provider} key {key.masked}?",
        consequence="Calls that would use it are refused, unless the project has another key for this provider.",
        button="Remove key",
        back=f"/admin/projects/{project_id}",
    )


async def _changed(visit: Visit, project_id: str, notice: str) -> Response:
    if not visit.is_partial:
        return visit.done(f"/admin/projects/{project_id}", notice)
    keys = await keys_of(visit.parts, project_id)
    project = await projects.get(visit.parts.stores.main, project_id)
    return visit.show_change("projects/_keys.html", notice, **_context(visit, project, keys, {}, {}))


async def _show(visit: Visit, project_id: str, values: dict[str, str], errors: dict[str, str]) -> Response:
    """The same form again; without htmx on a page of its own."""
    project = await projects.get(visit.parts.stores.main, project_id)
    if project is None:
        raise NotFound("project")
    keys = await keys_of(visit.parts, project_id)
    context = _context(visit, project, keys, values, errors)
    return visit.show("projects/keys.html", "projects/_keys.html", status=422, **context)


def _context(
    visit: Visit, project: object, keys: list[KeyView] | None, values: dict[str, str], errors: dict[str, str]
) -> dict[str, object]:
    return {
        "project": project,
        "keys": keys,
        "values": values,
        "errors": errors,
        "providers": visit.parts.provider_names,
        "default_provider": visit.parts.providers.default.name,
    }
