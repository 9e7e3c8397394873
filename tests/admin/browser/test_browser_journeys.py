"""What people do, in a real browser: with script, without it, by keyboard."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.admin.browser.conftest import Admin
from tests.admin.pages.site import TOKEN
from tests.support.browser import Watch, new_context

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
TRAFFIC = 130


def test_signing_in_and_out(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url) as context:
        page = context.new_page()
        watch = Watch(page)
        page.goto("/admin/tokens")
        expect(page.get_by_label("Management token")).to_be_focused()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("/admin/tokens$"))

        page.get_by_role("button", name="Sign out").click()

        expect(page.get_by_text("You are signed out")).to_be_visible()
        page.goto("/admin/tokens")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert watch.complaints == []


def test_a_wrong_management_token_is_said_and_announced(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url) as context:
        page = context.new_page()
        page.goto("/admin/sign-in")
        page.get_by_label("Management token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()

        expect(page.get_by_role("alert")).to_have_text("This is not the management token.")
        expect(page.get_by_role("alert")).to_be_focused()


def test_a_project_then_its_token_with_lines_to_copy(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/admin/projects")
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name").fill("Made by hand")
    page.get_by_label("API key", exact=True).fill("sk-proj-made-by-hand-0001")
    page.get_by_role("button", name="Create project").click()
    expect(page.get_by_role("heading", name="Made by hand")).to_be_visible()
    expect(page.get_by_text("Project created")).to_be_visible()

    page.get_by_role("link", name="New token").click()
    page.get_by_label("Expires after").select_option("7 days")
    page.get_by_role("button", name="Create token").click()

    expect(page.get_by_role("heading", name="Token created for Made by hand")).to_be_visible()
    secret = page.locator("#the-token").inner_text()
    page.get_by_role("button", name="Copy the token").click()
    expect(page.get_by_role("button", name="Copied the token")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.get_by_text("Python", exact=True).click()
    expect(page.locator("#snippet-python")).to_contain_text(secret)
    page.reload()
    expect(page.get_by_role("button", name="Create token")).to_be_visible()


def test_a_wrong_field_takes_the_focus_and_keeps_what_was_typed(page: Page) -> None:
    page.goto("/admin/tokens/new")
    page.get_by_label("Quota").fill("plenty")
    page.get_by_role("button", name="Create token").click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("whole number of requests")
    expect(alert).to_be_focused()
    expect(page.get_by_label("Quota")).to_have_value("plenty")
    alert.get_by_role("link").click()
    expect(page.get_by_label("Quota")).to_be_focused()


def test_revoking_asks_in_a_dialog_and_renews_the_row_in_place(page: Page) -> None:
    page.goto("/admin/tokens?state=active")
    row = page.locator("tbody tr").first
    hint = row.get_by_role("link").inner_text()
    revoke = page.get_by_role("button", name=f"Revoke {hint}")

    revoke.click()
    dialog = page.get_by_role("dialog", name=f"Revoke {hint}?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(row).to_contain_text("active")

    revoke.click()
    dialog.get_by_role("button", name="Revoke token").click()
    expect(page.get_by_text("Token revoked")).to_be_visible()
    expect(row).to_contain_text("revoked")
    page.get_by_role("button", name=f"Reactivate {hint}").click()
    expect(row.get_by_role("button", name="Revoke")).to_be_visible()


def test_a_key_is_added_and_removed_without_leaving_the_page(page: Page, admin: Admin) -> None:
    page.goto(f"/admin/projects/{admin.ids['project']}")
    page.get_by_text("Add an API key").click()
    page.get_by_label("Provider").select_option("gemini")
    page.get_by_label("API key", exact=True).fill("AIza-0123456789abcdef")
    page.get_by_role("button", name="Add key").click()
    expect(page.locator("#keys")).to_contain_text("gemini AIz")

    page.get_by_role("button", name="Remove the gemini key").click()
    page.get_by_role("button", name="Remove key", exact=True).click()

    expect(page.get_by_text("API key removed")).to_be_visible()
    expect(page.locator("#keys")).not_to_contain_text("gemini AIza")


def test_search_filters_while_typing_and_back_restores_it(page: Page) -> None:
    page.goto("/admin/projects")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("assistant")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/admin/projects\?q=assistant$"))

    # Leaving the field must not renew the rows below the pointer: a click that is held would be lost.
    page.get_by_role("link", name="Search assistant").click(delay=700)
    expect(page.get_by_role("heading", name="Search assistant")).to_be_visible()
    page.go_back()

    expect(page.get_by_label("Search")).to_have_value("assistant")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_pages_of_requests_go_on_and_back_restores_them(page: Page) -> None:
    page.goto("/admin/requests")
    first = page.locator("tbody tr a").first.get_attribute("href") or "none"
    page.get_by_role("link", name="Older").click()
    expect(page.locator(f'tbody a[href="{first}"]')).to_have_count(0)
    expect(page).to_have_url(re.compile("after="))

    page.go_back()

    expect(page.locator(f'tbody a[href="{first}"]')).to_have_count(1)


def test_the_overview_renews_itself_and_keeps_what_was_opened(page: Page) -> None:
    page.clock.install()
    page.goto("/admin/")
    page.get_by_text("As a table").click()
    with page.expect_response(lambda reply: "/admin/?window=1h" in reply.url) as renewed:
        page.clock.fast_forward(11_000)

    assert renewed.value.request.headers["hx-request-type"] == "partial"
    expect(page.locator("#figures")).to_have_count(1)
    expect(page.get_by_role("region", name="Requests over time")).to_be_visible()


def test_a_dead_letter_is_found_read_and_replayed_and_the_notice_has_the_focus(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_role("link", name="dead letters of webhook").click()
    page.get_by_label("Reason").select_option("Crash loop")
    rows = page.locator("#letter-rows tbody tr")
    expect(rows).to_have_count(4)
    expect(page).to_have_url(re.compile("reason=crash_loop"))
    event_id = rows.first.locator(".mono").inner_text()
    rows.first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Dead letter Crash loop")).to_be_visible()
    page.get_by_role("link", name="Show the bodies").click()
    expect(page.get_by_label("Request body").first).to_contain_text("Where is my parcel?")

    page.get_by_role("button", name="Replay").click()

    notice = page.get_by_role("status").filter(has_text="Replayed: 1 event back")
    expect(notice).to_be_focused()
    expect(page.get_by_text(event_id)).to_have_count(0)


def test_selected_letters_are_purged_after_a_page_that_names_them(page: Page) -> None:
    page.goto("/admin/backends/dead-letters?backend=webhook")
    picked = page.locator("#letter-rows tbody input[type=checkbox]")
    page.get_by_label("Select all on this page").check()
    expect(page.locator("tbody input:checked")).to_have_count(50)
    page.get_by_label("Select all on this page").uncheck()
    picked.nth(1).focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Purge selected").click()
    expect(page.get_by_role("heading", name="Purge 1 dead letter of webhook?")).to_be_visible()

    page.get_by_role("button", name="Purge 1 dead letter").click()

    expect(page.get_by_text("Purged: 1 dead letter gone for good.")).to_be_visible()


def test_the_backends_renew_themselves(page: Page) -> None:
    page.clock.install()
    page.goto("/admin/backends")
    with page.expect_response(lambda reply: reply.url.endswith("/admin/backends")) as renewed:
        page.clock.fast_forward(6_000)

    assert renewed.value.request.headers["hx-request-type"] == "partial"
    expect(page.locator("#state")).to_have_count(1)
    expect(page.get_by_text("breaker open").first).to_be_visible()


def test_times_are_local_and_the_title_keeps_utc(page: Page, admin: Admin) -> None:
    page.goto(f"/admin/requests/{admin.ids['request']}")
    accepted = page.locator("time").first

    utc = re.search(r" (\d\d):(\d\d:\d\d) UTC$", accepted.get_attribute("title") or "")
    assert utc
    local = re.search(r"(\d\d):(\d\d:\d\d)$", accepted.inner_text())
    assert local
    assert (int(local[1]) - int(utc[1])) % 24 in (1, 2)  # Berlin
    assert local[2] == utc[2]


def test_colours_follow_the_system_until_they_are_chosen(page: Page) -> None:
    def colour() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    page.goto("/admin/help")
    light = colour()
    page.emulate_media(color_scheme="dark")
    dark = colour()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.get_by_role("button", name="Colours: light")).to_have_attribute("aria-pressed", "true")

    assert light != dark
    assert colour() == light
    expect(page).to_have_url(re.compile("/admin/help$"))


def test_shortcuts_lead_to_pages_and_can_be_switched_off(page: Page) -> None:
    page.goto("/admin/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="Tokens")).to_be_visible()

    page.goto("/admin/help")
    page.get_by_label("Single keys are shortcuts").uncheck()
    page.get_by_role("button", name="Save preferences").click()
    expect(page.get_by_text("Preferences saved")).to_be_visible()
    page.keyboard.press("?")

    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_keyboard_alone_reaches_the_content_first(page: Page) -> None:
    page.goto("/admin/tokens")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    expect(page.get_by_role("link", name="New token")).to_be_focused()


def test_everything_goes_without_script(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/admin/projects/new")
        page.get_by_label("Management token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Create project").click()
        expect(page.get_by_role("alert")).to_contain_text("Give the project a name")
        page.get_by_label("Name").fill("Made without script")
        page.get_by_role("button", name="Create project").click()
        expect(page.get_by_text("Project created")).to_be_visible()

        page.get_by_role("link", name="New token").click()
        page.get_by_role("button", name="Create token").click()
        expect(page.locator("#the-token")).to_contain_text("sk-")
        expect(page.get_by_role("button", name="Copy the token")).to_be_hidden()
        page.get_by_role("link", name="To the token's page").click()
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("heading", name=re.compile("^Revoke sk-"))).to_be_visible()
        page.get_by_role("button", name="Revoke token").click()
        expect(page.get_by_text("Token revoked")).to_be_visible()

        page.goto("/admin/backends/dead-letters?backend=webhook")
        page.get_by_role("button", name="Replay event").first.click()
        expect(page.get_by_text("Replayed: 1 event back")).to_be_visible()
        expect(page.get_by_label("Select all on this page")).to_be_hidden()

        page.goto("/admin/requests")
        page.get_by_label("Status").select_option("5xx failed")
        page.get_by_role("button", name="Filter").click()
        expect(page).to_have_url(re.compile("status=5"))
        page.get_by_label("Sections").get_by_role("link", name="Projects").click()
        page.get_by_label("Search").fill("without script")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(1)


def test_an_admin_that_went_away_is_said(admin: Admin, browser: Browser) -> None:
    with new_context(browser, base_url=admin.url, storage_state=admin.state) as context:
        page = context.new_page()
        page.goto("/admin/projects")
        context.set_offline(True)
        page.get_by_label("Search").press_sequentially("bot")

        expect(page.get_by_text("The admin did not answer")).to_be_visible()
