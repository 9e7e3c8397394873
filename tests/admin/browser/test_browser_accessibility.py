"""Every page by axe in light and dark, and at the width of a telephone; no page breaks the content policy."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec import Struct
from playwright.sync_api import Browser, Page, expect

from tests.admin.browser.conftest import Admin
from tests.support.browser import Watch, new_context

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

TRAFFIC = 14
"""Rows in the request log: axe looks at each, and they are all alike."""
AXE = Axe()
# `target-size` runs only when wcag22aa is named.
TAGS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""The rules that can tell dark from light; the others have looked at the same page already."""
PATHS = [
    "/admin/",
    "/admin/?window=7d&updates=off",
    "/admin/requests",
    "/admin/requests?model=nothing",
    "/admin/requests/{request}",
    "/admin/projects",
    "/admin/projects/new",
    "/admin/projects/{project}",
    "/admin/projects/{project}/edit",
    "/admin/projects/{project}/switch",
    "/admin/projects/{project}/revoke-all",
    "/admin/tokens",
    "/admin/tokens/new",
    "/admin/tokens/{token}",
    "/admin/backends?updates=off",
    "/admin/backends/dead-letters?reason=crash_loop",
    "/admin/backends/dead-letters?backend=database",
    "/admin/backends/dead-letters/{letter}?backend=webhook",
    "/admin/audit",
    "/admin/help",
    "/admin/nothing",
]


def faults(page: Page) -> list[str]:
    """In light and in dark."""
    page.emulate_media(color_scheme="light")
    found = AXE.run(page, options={"runOnly": TAGS, "resultTypes": ["violations"]}).response["violations"]
    page.emulate_media(color_scheme="dark")
    options = {"runOnly": COLOURS, "resultTypes": ["violations"]}
    found += page.evaluate("options => axe.run(options).then(found => found.violations)", options)
    return [f"{v['id']}: {node['html'][:120]} ({node['failureSummary']})" for v in found for node in v["nodes"]]


class Seen(Struct, frozen=True):
    """What was found of a page that was opened once."""

    faults: list[str]
    complaints: list[str]
    width: int
    """Of the whole page on a telephone of 390 pixels."""


@pytest.fixture(scope="module")
def seen(admin: Admin, browser: Browser) -> dict[str, Seen]:
    found = {}
    with new_context(browser, base_url=admin.url, storage_state=admin.state) as context:
        page = context.new_page()
        watch = Watch(page)
        for path in PATHS:
            page.set_viewport_size({"width": 1280, "height": 800})
            watch.complaints.clear()
            page.goto(path.format(**admin.ids))
            at = faults(page)
            page.set_viewport_size({"width": 390, "height": 844})
            width = page.evaluate("document.documentElement.scrollWidth")
            found[path] = Seen(at, list(watch.complaints), width)
    return found


def test_no_page_has_a_fault_that_axe_knows(seen: dict[str, Seen]) -> None:
    assert {path: page.faults for path, page in seen.items() if page.faults} == {}


def test_no_page_breaks_the_policy_or_complains(seen: dict[str, Seen]) -> None:
    complaints = {path: page.complaints for path, page in seen.items() if page.complaints}

    # Chromium remarks on the page that is not there, which shows that it is heard.
    assert list(complaints) == ["/admin/nothing"]
    assert "404" in complaints["/admin/nothing"][0]


def test_no_page_is_wider_than_a_telephone(seen: dict[str, Seen]) -> None:
    assert {path: page.width for path, page in seen.items() if page.width > 390} == {}


def test_what_appears_by_script_has_no_fault_either(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url, storage_state=admin.state) as context:
        page = context.new_page()
        page.goto("/admin/projects/new")
        page.get_by_role("button", name="Create project").click()
        expect(page.get_by_role("alert")).to_be_visible()
        refused = faults(page)
        page.goto(f"/admin/tokens/new?project={admin.ids['project']}")
        page.get_by_role("button", name="Create token").click()
        expect(page.locator("#the-token")).to_be_visible()
        created = faults(page)
        page.goto("/admin/tokens?state=active")
        page.locator("tbody tr").first.get_by_role("button").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        asked = faults(page)
        page.get_by_role("button", name="Revoke token").click()
        expect(page.locator(".toast")).to_be_visible()
        done = faults(page)
        page.goto("/admin/backends/dead-letters")
        page.get_by_role("button", name="Purge all").click()
        expect(page.get_by_role("heading", name="Purge 60 dead letters")).to_be_visible()
        page.get_by_role("button", name="Purge 60").click()
        expect(page.get_by_role("alert")).to_be_focused()
        purging = faults(page)

    assert (refused, created, asked, done, purging) == ([], [], [], [], [])


def test_the_sign_in_has_no_fault(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url) as context:
        page = context.new_page()
        page.goto("/admin/sign-in")

        assert faults(page) == []


def test_axe_would_see_a_fault_in_dark_alone(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url) as context:
        page = context.new_page()
        page.goto("/admin/sign-in")
        page.evaluate("document.documentElement.style.setProperty('--text', 'light-dark(black, #333)')")

        assert [fault.split(":")[0] for fault in faults(page)][:1] == ["color-contrast"]


def test_the_watch_would_see_a_broken_policy(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url, storage_state=admin.state) as context:
        page = context.new_page()
        watch = Watch(page)
        page.goto("/admin/help")
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')")
        expect(page.locator("p[style]")).to_have_count(1)

        assert any("CSP style-src" in complaint for complaint in watch.complaints)
