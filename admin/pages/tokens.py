"""Tokens: list, make (shown once), show, change. How they end is in `revoking.py`."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta
from starlette.responses import Response

from admin.acts.errors import Invalid, NotFound, ProjectInactive
from admin.acts.rules import MAX_REQUESTS
from admin.acts.tokens import create_token, update_token
from admin.forms import Filled, Form
from admin.lists import CURSOR, PAGE_ROWS, Query, Whole, address, pager, read_choice, read_cursor
from admin.pages.token_views import GRACES, TokenView, token_view, token_views
from admin.snippets import snippets
from admin.visit import Visit
from sql.repositories import projects, tokens
from sql.rows import ProjectRow, TokenRow

LIST = "/admin/tokens"
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
NEVER = "never"
KEEP = "keep"
DURATIONS = {
    "1h": ("1 hour", _HOUR_MS),
    "1d": ("1 day", _DAY_MS),
    "7d": ("7 days", 7 * _DAY_MS),
    "30d": ("30 days", 30 * _DAY_MS),
    "90d": ("90 days", 90 * _DAY_MS),
    "365d": ("1 year", 365 * _DAY_MS),
    NEVER: ("Never", None),
}
_DEFAULT_DURATION = "30d"
_MAX_CHOICES = 200  # projects in a select; more are found from the project's own page
_STATES: dict[str, dict[str, bool]] = {
    "active": {"is_active": True, "is_expired": False, "is_used_up": False},
    "used-up": {"is_active": True, "is_expired": False, "is_used_up": True},
    "expired": {"is_active": True, "is_expired": True},
    "revoked": {"is_active": False},
}
_QUOTA = "Give a whole number of requests, or leave it empty for no limit."


class TokenForm(Form, frozen=True, kw_only=True):
    SAY: ClassVar = {"project_id": "Choose a project.", "max_requests": _QUOTA}
    project_id: Annotated[str, Meta(min_length=1)]
    duration: str = _DEFAULT_DURATION
    max_requests: Annotated[int, Meta(ge=1, le=MAX_REQUESTS)] | None = None


class TokenEdit(Form, frozen=True, kw_only=True):
    SAY: ClassVar = {"max_requests": _QUOTA}
    duration: str = KEEP
    max_requests: Annotated[int, Meta(ge=1, le=MAX_REQUESTS)] | None = None


class Chosen(Query, frozen=True):
    project: str = ""
    state: str = ""


async def list_all(visit: Visit) -> Response:
    query, now = visit.query, visit.parts.clock.now_ms()
    on = visit.parts.stores.main
    chosen = Chosen(project=query.get("project", ""), state=query.get("state", ""))
    state = read_choice(chosen.state, _STATES, {})
    after = read_cursor(query.get(CURSOR), tuple[Whole, str])
    project_id = chosen.project or None
    rows = await tokens.list_page(on, project_id=project_id, now_ms=now, after=after, limit=PAGE_ROWS + 1, **state)
    total = await tokens.count(on, project_id=project_id, now_ms=now, **state)
    names = await projects.names(on, sorted({row.project_id for row in rows[:PAGE_ROWS]}))
    return visit.show_list(
        "tokens/list.html",
        "tokens/_rows.html",
        address(LIST, chosen.query),
        tokens=token_views(rows[:PAGE_ROWS], names, now),
        total=total,
        chosen=chosen,
        choices=await _choices(visit),
        pager=pager(LIST, chosen.query, query, [(row.created_at_ms, row.id) for row in rows]),
    )


async def ask_new(visit: Visit) -> Response:
    values = {"project_id": visit.query.get("project", ""), "duration": _DEFAULT_DURATION}
    return await _ask(visit, values, {})


async def create(visit: Visit) -> Response:
    """Answers with the token itself: it is on no other page, so there is no redirect to one."""
    filled = Filled(TokenForm, visit.form)
    if not filled.errors and filled.form.duration not in DURATIONS:
        filled.errors["duration"] = "Choose one of the durations."
    if not filled.errors:
        form = filled.form
        try:
            row, token = await create_token(
                visit.parts.stores,
                visit.parts.clock,
                visit.actor(),
                project_id=form.project_id,
                duration_ms=DURATIONS[form.duration][1],
                max_requests=form.max_requests,
            )
            return await _show_once(visit, row, token)
        except NotFound:
            filled.errors["project_id"] = "This project has been deleted."
        except ProjectInactive:
            filled.errors["project_id"] = "This project is inactive. Activate it first."
        except Invalid as error:
            filled.refuse(error)
    return await _ask(visit, filled.values, filled.errors)


async def _ask(visit: Visit, values: dict[str, str], errors: dict[str, str]) -> Response:
    return visit.show(
        "tokens/new.html",
        "tokens/_new_form.html",
        status=422 if errors else 200,
        values=values,
        errors=errors,
        choices=await _choices(visit, values.get("project_id", "")),
        durations={key: label for key, (label, _) in DURATIONS.items()},
    )


async def _show_once(visit: Visit, row: TokenRow, token: str) -> Response:
    return visit.show(
        "tokens/created.html",
        "tokens/_created.html",
        status=201,
        row=await view_of(visit, row),
        token=token,
        snippets=await snippets(visit.parts, row.project_id, token, visit.browser_url),
    )


async def show(visit: Visit) -> Response:
    row = await token_of(visit)
    return await _show(visit, row, {}, {})


async def save(visit: Visit) -> Response:
    row = await token_of(visit)
    filled = Filled(TokenEdit, visit.form)
    if not filled.errors and filled.form.duration not in {**DURATIONS, KEEP: None}:
        filled.errors["duration"] = "Choose one of the durations."
    if not filled.errors:
        form, expires_at_ms = filled.form, _expiry(visit, filled.form.duration)
        await update_token(
            visit.parts.stores,
            visit.parts.clock,
            visit.actor(),
            row.id,
            max_requests=form.max_requests,
            expires_at_ms=UNSET if form.duration == KEEP else expires_at_ms,
        )
        return visit.done(f"{LIST}/{row.id}", "token_saved")
    return await _show(visit, row, filled.values, filled.errors)


def _expiry(visit: Visit, duration: str) -> int | None:
    length_ms = DURATIONS[duration][1] if duration != KEEP else None
    return None if length_ms is None else visit.parts.clock.now_ms() + length_ms


async def _show(visit: Visit, row: TokenRow, values: dict[str, str], errors: dict[str, str]) -> Response:
    quota = "" if row.max_requests is None else str(row.max_requests)
    return visit.show(
        "tokens/show.html",
        "tokens/_edit_form.html",
        status=422 if errors else 200,
        token=await view_of(visit, row),
        values={"max_requests": quota, "duration": KEEP, **values},
        errors=errors,
        durations={KEEP: "Keep as it is", **{key: label for key, (label, _) in DURATIONS.items()}},
        graces=GRACES,
    )


async def _choices(visit: Visit, also: str = "") -> list[ProjectRow]:
    """Projects to choose from, with the one that a link named."""
    on = visit.parts.stores.main
    rows = await projects.list_page(on, search=None, is_active=None, after=None, limit=_MAX_CHOICES)
    if also and all(row.id != also for row in rows):
        named = await projects.get(on, also)
        rows += [named] if named else []
    return rows


async def view_of(visit: Visit, row: TokenRow) -> TokenView:
    names = await projects.names(visit.parts.stores.main, [row.project_id])
    return token_view(row, names.get(row.project_id, ""), visit.parts.clock.now_ms())


async def token_of(visit: Visit) -> TokenRow:
    row = await tokens.get(visit.parts.stores.main, visit.path_id("token_id"))
    if row is None:
        raise NotFound("token")
    return row
