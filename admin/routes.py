"""The site map: every address of the admin, in one list."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.assets import PREFIX
from admin.door import Door
from admin.health import Health
from admin.pages import (
    api_keys,
    audit,
    backends,
    dead_letters,
    overview,
    preferences,
    projects,
    requests,
    revoking,
    rotating,
    signing,
    tokens,
)
from admin.parts import Parts


def admin_routes(parts: Parts, door: Door, health: Health) -> Sequence[BaseRoute]:
    return [
        *health.routes(),
        Route("/", _home),
        Route(PREFIX + "{name}", parts.assets.serve),
        door.public_page("/admin/sign-in", signing.ask),
        door.public_change("/admin/sign-in", signing.sign_in),
        door.change("/admin/sign-out", signing.sign_out),
        door.page("/admin/", overview.show),
        door.page("/admin/requests", requests.list_all),
        door.page("/admin/requests/{event_id}", requests.show),
        door.page("/admin/projects", projects.list_all),
        door.page("/admin/projects/new", projects.ask_new),
        door.change("/admin/projects/new", projects.create),
        door.page("/admin/projects/{project_id}", projects.show),
        door.page("/admin/projects/{project_id}/edit", projects.ask_edit),
        door.change("/admin/projects/{project_id}/edit", projects.save),
        door.page("/admin/projects/{project_id}/switch", projects.ask_switch),
        door.change("/admin/projects/{project_id}/switch", projects.switch),
        door.change("/admin/projects/{project_id}/keys", api_keys.add),
        door.change("/admin/projects/{project_id}/keys/{key_id}/remove", api_keys.remove),
        door.page("/admin/projects/{project_id}/revoke-all", revoking.ask_revoke_all),
        door.change("/admin/projects/{project_id}/revoke-all", revoking.revoke_all_of_project),
        door.page("/admin/tokens", tokens.list_all),
        door.page("/admin/tokens/new", tokens.ask_new),
        door.change("/admin/tokens/new", tokens.create),
        door.page("/admin/tokens/{token_id}", tokens.show),
        door.change("/admin/tokens/{token_id}", tokens.save),
        door.change("/admin/tokens/{token_id}/rotate", rotating.rotate),
        door.change("/admin/tokens/{token_id}/revoke", revoking.revoke),
        door.change("/admin/tokens/{token_id}/reactivate", revoking.reactivate),
        door.page("/admin/backends", backends.show),
        door.page("/admin/backends/dead-letters", dead_letters.list_all),
        door.change("/admin/backends/dead-letters/replay", dead_letters.replay),
        door.change("/admin/backends/dead-letters/purge", dead_letters.purge),
        door.page("/admin/backends/dead-letters/{letter_id}", dead_letters.show),
        door.page("/admin/audit", audit.list_all),
        door.page("/admin/help", preferences.show_help),
        door.change("/admin/preferences", preferences.save),
        door.change("/admin/theme", preferences.save_theme),
    ]


async def _home(request: Request) -> Response:
    return RedirectResponse("/admin/", status_code=307)
