"""Nobody gets in without a session, and nothing changes without a form of ours."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route

from admin.door import Door
from admin.health import Health
from admin.main import make_parts
from admin.routes import admin_routes
from sql.repositories import audit
from sql.rows import AuditFilter
from tests.admin.acts.acting import StillClock
from tests.admin.pages.site import ORIGIN, PARTIAL, Site, project, site_settings

PUBLIC = {"/", "/live", "/ready", "/health", "/admin/sign-in", "/admin/static/{name}"}


def all_routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route but the public ones."""
    parts = make_parts(site_settings(Path("nowhere")), StillClock())
    for route in admin_routes(parts, Door(parts), Health(parts, asyncio.Event())):
        assert isinstance(route, Route)
        if route.path not in PUBLIC:
            yield from ((method, route.path) for method in sorted(route.methods or ()) if method != "HEAD")


GUARDED = list(all_routes())
CHANGES = [path for method, path in GUARDED if method == "POST"]


def filled(path: str) -> str:
    for name in ("project_id", "token_id", "event_id", "key_id"):
        path = path.replace("{" + name + "}", "00000000-0000-7000-8000-000000000000")
    return path


def test_the_list_of_guarded_routes_is_not_empty() -> None:
    assert len(GUARDED) > 25


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_without_a_session_every_page_sends_to_the_sign_in(site: Site) -> None:
    let_in = []
    for method, path in GUARDED:
        reply = await site.client.request(method, filled(path), headers={"Origin": ORIGIN, **FORM}, content="csrf=")
        sent_off = reply.status_code == 303 and reply.headers["location"].startswith("/admin/sign-in")
        if not sent_off or reply.content:
            let_in.append((method, path, reply.status_code))

    assert let_in == []


async def test_without_a_session_htmx_is_told_to_load_the_sign_in(site: Site) -> None:
    let_in = []
    for method, path in GUARDED:
        reply = await site.client.request(method, filled(path), headers={**PARTIAL, **FORM}, content="csrf=")
        if reply.status_code != 401 or reply.headers.get("hx-redirect") != "/admin/sign-in" or reply.content:
            let_in.append((method, path, reply.status_code))

    assert let_in == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
        {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN},
    ],
    ids=["nothing said", "another origin", "no origin", "cross-site", "same-site"],
)
async def test_a_form_from_elsewhere_is_refused_everywhere(signed_in: Site, headers: dict[str, str]) -> None:
    statuses = {}
    for path in CHANGES:
        reply = await signed_in.client.post(filled(path), data={"csrf": signed_in.csrf}, headers=headers)
        statuses[path] = reply.status_code

    assert statuses == dict.fromkeys(CHANGES, 403)


@pytest.mark.parametrize("csrf", ["", "wrong", "ünicode"])
async def test_a_form_without_this_sessions_token_is_refused_everywhere(signed_in: Site, csrf: str) -> None:
    statuses = {path: (await signed_in.post(filled(path), {"csrf": csrf})).status_code for path in CHANGES}

    assert statuses == dict.fromkeys(CHANGES, 403)


async def test_another_sessions_token_is_as_good_as_none(signed_in: Site) -> None:
    theirs = signed_in.csrf
    await signed_in.sign_in()

    reply = await signed_in.post("/admin/preferences", {"csrf": theirs, "theme": "dark"})

    assert reply.status_code == 403


async def test_a_refused_form_has_changed_nothing(signed_in: Site) -> None:
    row = await project(signed_in.stores)

    await signed_in.post(f"/admin/projects/{row.id}/edit", {"csrf": "x", "name": "Taken over"})

    assert "Taken over" not in (await signed_in.get("/admin/projects")).text


async def test_a_browser_without_fetch_metadata_is_known_by_its_origin(signed_in: Site) -> None:
    reply = await signed_in.post("/admin/preferences", {"theme": "dark"})

    assert reply.status_code == 303


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=1", "", 415),
        (b"name=" + b"a" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"name=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(200)), "application/x-www-form-urlencoded", 400),
    ],
)
async def test_what_is_no_form_is_refused(signed_in: Site, content: bytes, kind: str, status: int) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": kind}

    reply = await signed_in.client.post("/admin/projects/new", content=content, headers=headers)

    assert reply.status_code == status
    assert reply.headers["x-request-id"] in reply.text


async def test_every_answer_carries_the_content_policy(signed_in: Site) -> None:
    for path in ("/admin/", "/admin/sign-in", "/nope", "/live", signed_in.parts.assets.url("admin.css")):
        headers = (await signed_in.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_a_forged_form_is_audited_once_a_minute(signed_in: Site) -> None:
    for _ in range(3):
        await signed_in.client.post(CHANGES[0], headers={"Origin": "http://evil.test"})

    rows = await audit.list_page(signed_in.stores.main, AuditFilter(outcome="denied"), limit=9)
    assert [(row.action, row.reason) for row in rows] == [
        ("admin.change", "the form was not ours, or of another session")
    ]
