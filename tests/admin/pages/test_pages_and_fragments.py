"""Each page whole and in part: the same text, and no name in a template that is not given to it."""

import re
from collections.abc import AsyncIterator

import pytest

from tests.admin.acts.acting import StillClock
from tests.admin.pages.bus_stage import bury, event, keeper
from tests.admin.pages.site import Site, seed

FRAGMENTS = {
    "/admin/": "figures",
    "/admin/projects": "project-rows",
    "/admin/projects?q=bot&state=active": "project-rows",
    "/admin/projects?q=nothing-like-it": "project-rows",
    "/admin/projects/new": "new-form",
    "/admin/projects/{project}/edit": "edit-form",
    "/admin/projects/{project}/revoke-all": "revoke-all-form",
    "/admin/tokens": "token-rows",
    "/admin/tokens?state=revoked": "token-rows",
    "/admin/tokens?project={project}&state=expired": "token-rows",
    "/admin/tokens/new": "new-form",
    "/admin/tokens/{token}": "edit-form",
    "/admin/requests": "request-rows",
    "/admin/requests?status=5&window=24h": "request-rows",
    "/admin/requests?token={token}&model=none": "request-rows",
    "/admin/backends": "state",
    "/admin/backends/dead-letters": "letter-rows",
    "/admin/backends/dead-letters?backend=webhook&reason=crash_loop": "letter-rows",
    "/admin/backends/dead-letters?backend=database": "letter-rows",
    "/admin/backends/dead-letters?backend=nobody": "letter-rows",
    "/admin/audit": "audit-rows",
    "/admin/audit?q=project.create": "audit-rows",
    "/admin/audit?outcome=denied": "audit-rows",
}
WHOLE = ["/admin/projects/{project}", "/admin/projects/{project}/switch", "/admin/requests/{request}", "/admin/help"]
WHOLE += ["/admin/backends/dead-letters/{letter}?backend=webhook"]


@pytest.fixture
async def seeded(signed_in: Site, clock: StillClock) -> AsyncIterator[tuple[Site, dict[str, str]]]:
    ids = await seed(signed_in.stores, clock)
    async with keeper(signed_in.parts.settings, [event(), event()]) as log:
        await bury(log, "webhook", 1)
        yield signed_in, {**ids, "letter": "1"}


async def test_each_fragment_stands_word_for_word_in_its_page(seeded: tuple[Site, dict[str, str]]) -> None:
    site, ids = seeded
    for path, element in FRAGMENTS.items():
        page = await site.get(path.format(**ids))
        fragment = await site.get(path.format(**ids), is_partial=True)

        assert (page.status_code, fragment.status_code) == (200, 200), path
        assert fragment.text.strip() in page.text, path
        assert re.match(rf'<\w+ id="{element}"', fragment.text.strip()), path


async def test_each_page_is_a_whole_document_that_is_never_stored(seeded: tuple[Site, dict[str, str]]) -> None:
    site, ids = seeded
    for path in [*FRAGMENTS, *WHOLE]:
        page = await site.get(path.format(**ids))

        assert page.text.startswith("<!doctype html>"), path
        assert page.text.rstrip().endswith("</html>"), path
        assert page.text.count("<h1") == 1, path
        assert page.headers["cache-control"] == "no-store", path
        assert "HX-Request-Type" in page.headers["vary"], path


async def test_ids_are_used_once_in_a_page(seeded: tuple[Site, dict[str, str]]) -> None:
    site, ids = seeded
    for path in [*FRAGMENTS, *WHOLE]:
        found = re.findall(r'\sid="([^"]+)"', (await site.get(path.format(**ids))).text)

        assert sorted(found) == sorted(set(found)), path


@pytest.mark.parametrize("path", ["/admin/", "/admin/projects", "/admin/tokens", "/admin/requests", "/admin/audit"])
async def test_a_new_admin_explains_the_first_step(signed_in: Site, path: str) -> None:
    page = await signed_in.get(path)

    assert page.status_code == 200
    assert re.search(r"Create the first|Three steps|make a call|Nothing has been changed|admin.login", page.text)


async def test_a_history_restore_gets_the_whole_page(signed_in: Site) -> None:
    headers = {"HX-Request": "true", "HX-Request-Type": "full", "HX-History-Restore-Request": "true"}

    page = await signed_in.client.get("/admin/projects", headers=headers)

    assert page.text.startswith("<!doctype html>")
