"""How tokens end: one by one, or all of a project at once; and how one comes back."""

from starlette.responses import Response

from admin.acts.errors import NotFound
from admin.acts.tokens import revoke_all, revoke_token, update_token
from admin.pages.tokens import LIST, token_of, view_of
from admin.visit import Visit
from sql.repositories import projects, tokens
from sql.rows import ProjectRow


async def revoke(visit: Visit) -> Response:
    row = await token_of(visit)
    if not visit.is_confirmed:
        return visit.confirm(
            question=f"Revoke {row.hint}?",
            consequence="Programs that use this token are refused within a second. It can be made active again.",
            button="Revoke token",
            back=f"{LIST}/{row.id}",
        )
    await revoke_token(visit.parts.stores, visit.parts.clock, visit.actor(), row.id)
    return await _changed(visit, "token_revoked")


async def reactivate(visit: Visit) -> Response:
    row = await token_of(visit)
    await update_token(visit.parts.stores, visit.parts.clock, visit.actor(), row.id, is_active=True)
    return await _changed(visit, "token_reactivated")


async def _changed(visit: Visit, notice: str) -> Response:
    """In a list the row is renewed where it stands; elsewhere the token's own page is."""
    row = await token_of(visit)
    if visit.asks_for("tr"):
        return visit.show_change("tokens/_row.html", notice, token=await view_of(visit, row))
    return visit.done(f"{LIST}/{row.id}", notice)


async def ask_revoke_all(visit: Visit) -> Response:
    return await _ask_revoke_all(visit, {})


async def revoke_all_of_project(visit: Visit) -> Response:
    """Ends every program of a project at once, so the project's name has to be typed."""
    project = await _project(visit)
    if visit.form.get("name", "").strip() != project.name:
        return await _ask_revoke_all(visit, {"name": "This is not the project's name."})
    await revoke_all(visit.parts.stores, visit.parts.clock, visit.actor(), project.id)
    return visit.done(f"/admin/projects/{project.id}", "tokens_revoked")


async def _ask_revoke_all(visit: Visit, errors: dict[str, str]) -> Response:
    project, now = await _project(visit), visit.parts.clock.now_ms()
    on = visit.parts.stores.main
    active = await tokens.count(on, project_id=project.id, is_active=True, is_expired=False, now_ms=now)
    return visit.show(
        "tokens/revoke_all.html",
        "tokens/_revoke_all_form.html",
        status=422 if errors else 200,
        project=project,
        active=active,
        values=visit.form,
        errors=errors,
    )


async def _project(visit: Visit) -> ProjectRow:
    row = await projects.get(visit.parts.stores.main, visit.path_id("project_id"))
    if row is None:
        raise NotFound("project")
    return row
