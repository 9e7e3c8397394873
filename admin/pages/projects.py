"""Projects: list, make, show, change, switch on and off; their API keys lie in `api_keys.py`."""

from typing import Annotated, ClassVar

from msgspec import Meta
from starlette.responses import Response

from admin.acts.errors import Conflict, Invalid, NotFound
from admin.acts.projects import create_project, update_project
from admin.forms import Filled, Form
from admin.lists import CURSOR, PAGE_ROWS, Query, address, pager, read_choice, read_cursor
from admin.pages.api_keys import KeyView, keys_of
from admin.pages.token_views import token_views
from admin.visit import Visit
from config.secret import Secret
from sql.repositories import projects, tokens
from sql.rows import OnDisconnect, ProjectRow, Recording

LIST = "/admin/projects"
_STATES = {"active": True, "inactive": False}
_SHOWN_TOKENS = 10


class ProjectForm(Form, frozen=True, kw_only=True):
    SAY: ClassVar = {"name": "Give the project a name of 1 to 200 characters."}
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    recording: Recording = "full"
    on_disconnect: OnDisconnect | None = None
    provider: str = ""
    api_key: str = ""


class SwitchForm(Form, frozen=True, kw_only=True):
    is_active: bool = False
    revoke_tokens: bool = False


class Chosen(Query, frozen=True):
    q: str = ""
    state: str = ""


async def list_all(visit: Visit) -> Response:
    query = visit.query
    chosen = Chosen(q=query.get("q", "")[:200], state=query.get("state", ""))
    is_active = read_choice(chosen.state, _STATES, None)
    after = read_cursor(query.get(CURSOR), tuple[str, str])
    on = visit.parts.stores.main
    search = chosen.q or None
    rows = await projects.list_page(on, search=search, is_active=is_active, after=after, limit=PAGE_ROWS + 1)
    total = await projects.count(on, search=search, is_active=is_active)
    return visit.show_list(
        "projects/list.html",
        "projects/_rows.html",
        address(LIST, chosen.query),
        projects=rows[:PAGE_ROWS],
        total=total,
        chosen=chosen,
        pager=pager(LIST, chosen.query, query, [(row.name, row.id) for row in rows]),
    )


async def ask_new(visit: Visit) -> Response:
    return _ask(visit, {"recording": "full", "provider": visit.parts.providers.default.name}, {})


async def create(visit: Visit) -> Response:
    filled = Filled(ProjectForm, visit.form, secret=("api_key",))
    if not filled.errors:
        form = filled.form
        key = Secret(form.api_key) if form.api_key else None
        provider = form.provider if form.provider in visit.parts.providers.by_name else ""
        try:
            row = await create_project(
                visit.parts.stores,
                visit.parts.clock,
                visit.actor(),
                name=form.name,
                api_key=key,
                recording=form.recording,
                provider=provider or visit.parts.providers.default.name,
            )
            return visit.done(f"{LIST}/{row.id}", "project_created")
        except (Invalid, Conflict) as error:
            filled.refuse(error)
    return _ask(visit, filled.values, filled.errors)


def _ask(visit: Visit, values: dict[str, str], errors: dict[str, str]) -> Response:
    return visit.show(
        "projects/new.html",
        "projects/_new_form.html",
        status=422 if errors else 200,
        values=values,
        errors=errors,
        providers=visit.parts.provider_names,
    )


async def show(visit: Visit) -> Response:
    row = await _project(visit)
    parts = visit.parts
    keys = await keys_of(parts, row.id)
    page = await tokens.list_page(
        parts.stores.main,
        project_id=row.id,
        is_active=None,
        is_expired=None,
        now_ms=parts.clock.now_ms(),
        after=None,
        limit=_SHOWN_TOKENS + 1,
    )
    return visit.show(
        "projects/show.html",
        project=row,
        keys=keys,
        missing_default=_is_missing(parts.providers.default.name, keys),
        tokens=token_views(page[:_SHOWN_TOKENS], {row.id: row.name}, parts.clock.now_ms()),
        has_more_tokens=len(page) > _SHOWN_TOKENS,
        providers=parts.provider_names,
        default_provider=parts.providers.default.name,
        values={},
        errors={},
    )


def _is_missing(default: str, keys: list[KeyView] | None) -> str:
    """The default provider's name when a call to /v1 would find no API key."""
    return default if keys is not None and not any(k.provider == default and k.weight for k in keys) else ""


async def ask_edit(visit: Visit) -> Response:
    row = await _project(visit)
    return _ask_edit(visit, row, _shown(row), {})


async def save(visit: Visit) -> Response:
    row = await _project(visit)
    filled = Filled(ProjectForm, visit.form)
    if not filled.errors:
        try:
            await update_project(
                visit.parts.stores,
                visit.parts.clock,
                visit.actor(),
                row.id,
                name=filled.form.name,
                recording=filled.form.recording,
                on_disconnect=filled.form.on_disconnect,
            )
            return visit.done(f"{LIST}/{row.id}", "project_saved")
        except (Invalid, Conflict) as error:
            filled.refuse(error)
    return _ask_edit(visit, row, filled.values, filled.errors)


def _shown(row: ProjectRow) -> dict[str, str]:
    return {"name": row.name, "recording": row.recording, "on_disconnect": row.on_disconnect}


def _ask_edit(visit: Visit, row: ProjectRow, values: dict[str, str], errors: dict[str, str]) -> Response:
    return visit.show(
        "projects/edit.html",
        "projects/_edit_form.html",
        status=422 if errors else 200,
        project=row,
        values=values,
        errors=errors,
    )


async def ask_switch(visit: Visit) -> Response:
    return visit.show("projects/switch.html", project=await _project(visit))


async def switch(visit: Visit) -> Response:
    form = Filled(SwitchForm, visit.form).form
    row = await update_project(
        visit.parts.stores,
        visit.parts.clock,
        visit.actor(),
        visit.path_id("project_id"),
        is_active=form.is_active,
        revoke_tokens=form.revoke_tokens and not form.is_active,
    )
    return visit.done(f"{LIST}/{row.id}", "project_activated" if row.is_active else "project_deactivated")


async def _project(visit: Visit) -> ProjectRow:
    row = await projects.get(visit.parts.stores.main, visit.path_id("project_id"))
    if row is None:
        raise NotFound("project")
    return row
