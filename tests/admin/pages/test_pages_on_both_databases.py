"""The way through the first room on SQLite and on PostgreSQL: every page's queries, and a change of each kind."""

import re

import httpx
from msgspec.structs import replace

from config.clock import SystemClock
from config.secret import Secret
from config.settings import Settings
from tests.admin.pages.site import TOKEN, Site, open_site, seed

_PATHS = [
    "/admin/",
    "/admin/?window=7d",
    "/admin/projects?q=bot&state=active",
    "/admin/projects/{project}",
    "/admin/projects/{project}/revoke-all",
    "/admin/tokens?state=active&project={project}",
    "/admin/tokens?state=expired",
    "/admin/tokens/{token}",
    "/admin/requests?project={project}&provider=openai&status=2&model=gpt-4.1-mini&request_id=req&window=31d",
    "/admin/requests?token={token}&status=0",
    "/admin/requests/{request}",
    "/admin/audit?q=bot&outcome=success",
    "/ready",
]


async def test_every_page_opens_and_every_change_is_made(store_settings: Settings) -> None:
    site = await open_site(replace(store_settings, management_token=Secret(TOKEN)), SystemClock())
    try:
        await site.sign_in()
        ids = await seed(site.stores, SystemClock())
        opened = {path: (await site.get(path.format(**ids))).status_code for path in _PATHS}
        pages = [await site.get("/admin/requests"), await _older(site)]
        changed = [reply.status_code for reply in await _changes(site, ids)]
    finally:
        await site.close()

    assert opened == dict.fromkeys(_PATHS, 200)
    assert [page.text.count('data-label="Request"') for page in pages] == [50, 10]
    assert changed == [303, 422, 303, 303, 201, 303, 303, 303, 303]


async def _older(site: Site) -> httpx.Response:
    first = (await site.get("/admin/requests")).text
    return await site.get(re.findall(r'href="([^"]+)"[^>]*>Older<', first)[0].replace("&amp;", "&"))


async def _changes(site: Site, ids: dict[str, str]) -> list[httpx.Response]:
    project, token = f"/admin/projects/{ids['project']}", f"/admin/tokens/{ids['token']}"
    forms: list[tuple[str, dict[str, str]]] = [
        ("/admin/projects/new", {"name": "Another"}),
        ("/admin/projects/new", {"name": "Another"}),
        (f"{project}/edit", {"name": "Renamed", "recording": "off"}),
        (f"{project}/keys", {"provider": "gemini", "key": "AIza-0123456789"}),
        ("/admin/tokens/new", {"project_id": ids["project"], "duration": "never", "max_requests": "5"}),
        (token, {"duration": "1d", "max_requests": "9"}),
        (f"{token}/revoke", {"confirmed": "1"}),
        (f"{project}/revoke-all", {"name": "Renamed"}),
        (f"{project}/switch", {"revoke_tokens": "1"}),
    ]
    return [await site.post(path, form) for path, form in forms]
