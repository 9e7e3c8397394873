"""Every page by axe in light and dark, and at the width of a telephone; no page breaks the content policy."""

import pytest
from axe_playwright_python.sync_playwright import Axe
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


def test_no_page_has_a_fault_that_axe_knows(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url, storage_state=admin.state) as context:
        page = context.new_page()
        found = {}
        for path in PATHS:
            page.goto(path.format(**admin.ids))
            if at := faults(page):
                found[path] = at

    assert found == {}


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

    assert (refused, created, asked, done) == ([], [], [], [])


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


def test_no_page_breaks_the_policy_or_complains(page: Page, admin: Admin) -> None:
    """The `page` fixture looks at the console; here every page is loaded once under its eyes."""
    for path in PATHS[:-1]:
        page.goto(path.format(**admin.ids))
        expect(page.locator("h1")).to_have_count(1)


def test_the_watch_would_see_a_broken_policy(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url, storage_state=admin.state) as context:
        page = context.new_page()
        watch = Watch(page)
        page.goto("/admin/help")
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')")
        expect(page.locator("p[style]")).to_have_count(1)

        assert any("CSP style-src" in complaint for complaint in watch.complaints)


def test_nothing_is_wider_than_a_telephone(admin: Admin, browser: Browser) -> None:
    with new_context(
        browser, base_url=admin.url, storage_state=admin.state, viewport={"width": 390, "height": 844}
    ) as context:
        page = context.new_page()
        too_wide = {}
        for path in PATHS:
            page.goto(path.format(**admin.ids))
            if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
                too_wide[path] = width

    assert too_wide == {}
