"""Projects and their API keys, from the browser's side."""

import re
import sqlite3
from pathlib import Path

import pytest

from sql.repositories import api_keys, audit, projects, tokens
from sql.rows import AuditFilter
from tests.admin.pages.site import PARTIAL, Site, project, token

KEY = "sk-proj-0123456789abcdef"


async def only_project(site: Site) -> str:
    rows = await projects.list_page(site.stores.main, limit=2)
    assert len(rows) == 1
    return rows[0].id


async def test_a_project_is_made_with_its_first_key(signed_in: Site) -> None:
    form = {"name": "  Support bot ", "provider": "anthropic", "api_key": KEY, "recording": "metadata"}

    reply = await signed_in.post("/admin/projects/new", form)

    project_id = await only_project(signed_in)
    page = (await signed_in.get(reply.headers["location"])).text
    keys = await api_keys.for_project(signed_in.stores.main, signed_in.stores.sealer, project_id)
    assert reply.headers["location"] == f"/admin/projects/{project_id}"
    assert [(key.provider, key.key.reveal()) for key in keys] == [("anthropic", KEY)]
    assert "Project created" in page
    assert "sk-proj-...cdef" in page
    assert KEY not in page


async def test_the_notice_of_a_change_is_shown_once(signed_in: Site) -> None:
    reply = await signed_in.post("/admin/projects/new", {"name": "Support bot"})

    first = await signed_in.get(reply.headers["location"])
    second = await signed_in.get(reply.headers["location"])

    assert "Project created" in first.text
    assert "Project created" not in second.text


async def test_under_htmx_the_browser_is_told_where_to_go(signed_in: Site) -> None:
    reply = await signed_in.post("/admin/projects/new", {"name": "Support bot"}, headers=PARTIAL)

    assert reply.status_code == 200
    assert reply.headers["hx-redirect"] == f"/admin/projects/{await only_project(signed_in)}"


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        ({"name": ""}, "name", "Give the project a name"),
        ({"name": "a" * 201}, "name", "Give the project a name"),
        ({"name": "Taken"}, "name", "A project with this name exists"),
        ({"name": "New", "api_key": "two words"}, "api_key", "visible ASCII"),
        ({"name": "New", "api_key": "sk-proj-...cdef"}, "api_key", "obfuscated"),
        ({"name": "New", "recording": "everything"}, "recording", "cannot be used"),
    ],
)
@pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["plain", "htmx"])
async def test_a_wrong_field_is_told_beside_it(
    signed_in: Site, form: dict[str, str], field: str, says: str, headers: dict[str, str]
) -> None:
    await project(signed_in.stores, "Taken")

    reply = await signed_in.post("/admin/projects/new", form, headers=headers)

    assert reply.status_code == 422
    assert re.search(rf'href="#{field}">[^<]*{says}', reply.text)
    assert f'value="{form["name"]}"' in reply.text
    assert reply.text.startswith("<form" if headers else "<!doctype html>")


async def test_a_refused_form_gives_no_secret_back(signed_in: Site) -> None:
    reply = await signed_in.post("/admin/projects/new", {"name": "", "api_key": KEY})

    assert reply.status_code == 422
    assert KEY not in reply.text


async def test_a_wrong_field_is_bound_to_its_message(signed_in: Site) -> None:
    page = (await signed_in.post("/admin/projects/new", {"name": ""})).text

    described = re.search(r'<input id="name"[^>]*aria-describedby="([^"]+)"[^>]*aria-invalid="true"', page)
    assert described
    assert f'id="{described[1]}"' in page


async def test_the_name_and_the_recording_can_be_changed(signed_in: Site) -> None:
    row = await project(signed_in.stores)

    changes = {"name": "Renamed", "recording": "off", "on_disconnect": "drain"}
    await signed_in.post(f"/admin/projects/{row.id}/edit", changes)

    changed = await projects.get(signed_in.stores.main, row.id)
    assert changed
    assert (changed.name, changed.recording) == ("Renamed", "off")


@pytest.mark.parametrize("revoke", [False, True])
async def test_a_project_is_switched_off_with_or_without_its_tokens(signed_in: Site, revoke: bool) -> None:
    row = await project(signed_in.stores)
    made, _ = await token(signed_in.stores, row.id)

    await signed_in.post(f"/admin/projects/{row.id}/switch", {"revoke_tokens": "1"} if revoke else {})

    found = await tokens.get(signed_in.stores.main, made.id)
    page = (await signed_in.get(f"/admin/projects/{row.id}")).text
    assert found
    assert found.is_active is not revoke
    assert "inactive</span>" in page
    assert "/admin/tokens/new?project=" not in page


async def test_a_project_is_switched_on_again(signed_in: Site) -> None:
    row = await project(signed_in.stores)
    await signed_in.post(f"/admin/projects/{row.id}/switch")

    await signed_in.post(f"/admin/projects/{row.id}/switch", {"is_active": "1"})

    changed = await projects.get(signed_in.stores.main, row.id)
    assert changed
    assert changed.is_active


@pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["plain", "htmx"])
async def test_a_key_is_added_and_removed(signed_in: Site, headers: dict[str, str]) -> None:
    row = await project(signed_in.stores, key="")
    form = {"provider": "gemini", "key": KEY, "weight": "5"}

    added = await signed_in.post(f"/admin/projects/{row.id}/keys", form, headers=headers)
    page = (await signed_in.get(f"/admin/projects/{row.id}")).text
    remove = re.search(r'action="(/admin/projects/[^"]+/remove)"', page)
    assert remove
    removed = await signed_in.post(remove[1], {"confirmed": "1"}, headers=headers)

    assert "weight 5" in page
    assert (added.status_code, removed.status_code) == ((200, 200) if headers else (303, 303))
    assert await api_keys.for_project(signed_in.stores.main, signed_in.stores.sealer, row.id) == []


async def test_removing_a_key_without_a_dialog_asks_on_a_page(signed_in: Site) -> None:
    row = await project(signed_in.stores)
    page = (await signed_in.get(f"/admin/projects/{row.id}")).text
    path = re.findall(r'action="(/admin/projects/[^"]+/remove)"', page)[0]

    asked = await signed_in.post(path)

    assert "Remove the openai key" in asked.text
    assert f'action="{path}"' in asked.text
    assert 'name="confirmed" value="1"' in asked.text
    assert len(await api_keys.for_project(signed_in.stores.main, signed_in.stores.sealer, row.id)) == 1


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"provider": "nobody", "key": KEY}, "Choose a provider"),
        ({"provider": "openai", "key": ""}, "Paste the provider"),
        ({"provider": "openai", "key": KEY, "weight": "heavy"}, "whole number from 0"),
        ({"provider": "openai", "key": KEY, "weight": "1001"}, "whole number from 0"),
        ({"provider": "openai", "key": "sk-provider-key-of-this-test"}, "has this key already"),
    ],
)
async def test_a_wrong_key_is_told(signed_in: Site, form: dict[str, str], says: str) -> None:
    row = await project(signed_in.stores)

    reply = await signed_in.post(f"/admin/projects/{row.id}/keys", form)

    assert reply.status_code == 422
    assert says in reply.text
    assert KEY not in reply.text


async def test_keys_of_another_encryption_key_do_not_hide_the_project(signed_in: Site) -> None:
    row = await project(signed_in.stores)
    with sqlite3.connect(Path(signed_in.parts.settings.data_dir) / "llm-proxy.db") as raw:
        raw.execute("UPDATE api_keys SET key = 'enc:v1:' || ?", ("A" * 80,))

    page = await signed_in.get(f"/admin/projects/{row.id}")

    assert page.status_code == 200
    assert "These keys do not open" in page.text


async def test_a_project_without_a_key_for_the_default_provider_says_so(signed_in: Site) -> None:
    row = await project(signed_in.stores, key="")

    assert "No API key for openai" in (await signed_in.get(f"/admin/projects/{row.id}")).text


async def test_a_project_that_is_not_there_is_a_404(signed_in: Site) -> None:
    for project_id in ("00000000-0000-7000-8000-000000000000", "nope", "%00", "a" * 300):
        for path in ("", "/edit", "/switch", "/revoke-all"):
            reply = await signed_in.get(f"/admin/projects/{project_id}{path}")
            assert reply.status_code == 404
            assert reply.headers["x-request-id"] in reply.text


async def test_search_and_state_choose(signed_in: Site) -> None:
    for name in ("Alpha bot", "Beta bot", "Gamma"):
        await project(signed_in.stores, name, "")
    off = await project(signed_in.stores, "Delta bot", "")
    await signed_in.post(f"/admin/projects/{off.id}/switch")

    page = (await signed_in.get("/admin/projects?q=BOT&state=active")).text

    assert re.findall(r'<a class="strong"[^>]*>([^<]+)', page) == ["Alpha bot", "Beta bot"]
    assert "2 projects" in page


async def test_a_filter_under_htmx_is_kept_in_the_address(signed_in: Site) -> None:
    headers = {**PARTIAL, "HX-Source": "form#project-filter"}

    reply = await signed_in.client.get("/admin/projects?q=bot&state=", headers=headers)

    assert reply.headers["hx-replace-url"] == "/admin/projects?q=bot"


async def test_pages_follow_each_other_without_gap_or_repetition_and_back(signed_in: Site) -> None:
    for number in range(120):
        await project(signed_in.stores, f"Project {number:03}", "")
    seen, url = [], "/admin/projects?state=active"
    urls = []
    while url:
        page = (await signed_in.get(url)).text
        urls.append(url)
        seen += re.findall(r'<a class="strong"[^>]*>([^<]+)', page)
        found = re.search(r'<a class="button" href="([^"]+)"[^>]*>Next<', page)
        url = found[1].replace("&amp;", "&") if found else ""

    back = re.search(r'href="([^"]+)"[^>]*>Previous<', page)
    assert seen == [f"Project {number:03}" for number in range(120)]
    assert len(urls) == 3
    assert back
    assert back[1].replace("&amp;", "&") == urls[1]


async def test_every_change_tells_who_did_it(signed_in: Site) -> None:
    await signed_in.post("/admin/projects/new", {"name": "Told of"})

    row = (await audit.list_page(signed_in.stores.main, AuditFilter(action="project.create"), limit=1))[0]
    assert (row.actor, row.client_ip, row.method, row.path) == (
        "management_token",
        "127.0.0.1",
        "POST",
        "/admin/projects/new",
    )
    assert row.request_id
