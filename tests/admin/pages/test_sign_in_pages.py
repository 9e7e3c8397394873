"""Signing in and out, and how long it lasts."""

from pathlib import Path

import httpx

from admin.sessions import ABSOLUTE_MS, IDLE_MS
from config.secret import Secret
from sql.repositories import audit, sessions
from sql.rows import AuditFilter
from tests.admin.acts.acting import StillClock
from tests.admin.pages.site import ORIGIN, TOKEN, Site, open_site, site_settings

COOKIE = "llmproxy_session"


async def test_the_management_token_lets_in(site: Site) -> None:
    reply = await site.post("/admin/sign-in", {"token": TOKEN, "next": "/admin/tokens"})

    assert (reply.status_code, reply.headers["location"]) == (303, "/admin/tokens")
    assert (await site.get("/admin/tokens")).status_code == 200


async def test_a_wrong_token_gets_the_form_again_without_what_was_typed(site: Site) -> None:
    reply = await site.post("/admin/sign-in", {"token": "sk-typed-by-mistake"})

    assert reply.status_code == 422
    assert "This is not the management token" in reply.text
    assert "sk-typed-by-mistake" not in reply.text
    assert COOKIE not in site.client.cookies


async def test_too_many_wrong_tokens_make_the_address_wait(site: Site, clock: StillClock) -> None:
    for _ in range(site.parts.settings.login_rate_per_minute):
        await site.post("/admin/sign-in", {"token": "wrong"})

    refused = await site.post("/admin/sign-in", {"token": TOKEN})
    clock.pass_ms(1000 * int(refused.headers["retry-after"]))
    later = await site.post("/admin/sign-in", {"token": TOKEN})

    assert (refused.status_code, later.status_code) == (429, 303)


async def test_another_address_does_not_wait(site: Site) -> None:
    for _ in range(site.parts.settings.login_rate_per_minute):
        await site.post("/admin/sign-in", {"token": "wrong"})

    async with site.new_client(peer="10.9.8.7") as other:
        reply = await other.post("/admin/sign-in", data={"token": TOKEN}, headers={"Origin": ORIGIN})

    assert reply.status_code == 303


async def test_without_a_management_token_nobody_gets_in(tmp_path: Path, clock: StillClock) -> None:
    site = await open_site(site_settings(tmp_path, management_token=None), clock)

    reply = await site.post("/admin/sign-in", {"token": ""})

    assert reply.status_code == 422
    assert "llm-proxy setup" in reply.text
    await site.close()


async def test_the_way_back_never_leaves_the_admin(site: Site) -> None:
    outside = ["//evil.test", "https://evil.test/admin/", "/\\evil.test", "/admin/..//evil.test", "/", "javascript:1"]

    for wanted in outside:
        reply = await site.post("/admin/sign-in", {"token": TOKEN, "next": wanted})
        assert reply.headers["location"] == "/admin/"


async def test_the_page_that_was_wanted_comes_after_the_sign_in(site: Site) -> None:
    reply = await site.get("/admin/requests?status=5&window=24h")
    form = await site.get(reply.headers["location"])

    assert 'value="/admin/requests?status=5&amp;window=24h"' in form.text


async def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Site) -> None:
    reply = await site.post("/admin/sign-in", {"token": TOKEN})

    cookie = next(c for c in reply.headers.get_list("set-cookie") if c.startswith(COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


async def with_cookie(site: Site, cookie: str) -> httpx.Response:
    """What a browser gets that still has this cookie."""
    async with site.new_client() as client:
        return await client.get("/admin/", headers={"Cookie": f"{COOKIE}={cookie}"})


async def sign_in_through_proxy(site: Site) -> httpx.Response:
    headers = {"Origin": "https://admin.test", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.5"}
    return await site.client.post("/admin/sign-in", data={"token": TOKEN}, headers=headers)


async def test_behind_a_trusted_proxy_with_tls_the_cookie_is_bound_to_the_host(
    tmp_path: Path, clock: StillClock
) -> None:
    site = await open_site(site_settings(tmp_path, trusted_proxies=("127.0.0.0/8",)), clock)

    reply = await sign_in_through_proxy(site)

    cookie = next(c for c in reply.headers.get_list("set-cookie") if "session" in c)
    assert cookie.startswith("__Host-llmproxy_session=")
    assert "Secure" in cookie
    row = (await audit.list_page(site.stores.main, AuditFilter(action="admin.login"), limit=1))[0]
    assert row.client_ip == "203.0.113.5"
    await site.close()


async def test_a_stranger_cannot_claim_tls_or_another_address(site: Site) -> None:
    reply = await sign_in_through_proxy(site)

    cookie = next(c for c in reply.headers.get_list("set-cookie") if "session" in c)
    assert cookie.startswith("llmproxy_session=")
    row = (await audit.list_page(site.stores.main, AuditFilter(action="admin.login"), limit=1))[0]
    assert row.client_ip == "127.0.0.1"


async def test_a_sign_in_never_takes_over_the_session_that_was_there(signed_in: Site) -> None:
    before = signed_in.client.cookies[COOKIE]

    await signed_in.post("/admin/sign-in", {"token": TOKEN})

    after = signed_in.client.cookies[COOKIE]
    assert after != before
    assert (await with_cookie(signed_in, before)).status_code == 303
    assert (await with_cookie(signed_in, after)).status_code == 200


async def test_the_database_does_not_hold_the_cookie(signed_in: Site) -> None:
    cookie = signed_in.client.cookies[COOKIE]

    assert await sessions.get(signed_in.stores.main, cookie) is None


async def test_an_idle_session_ends(signed_in: Site, clock: StillClock) -> None:
    clock.pass_ms(IDLE_MS)

    assert (await signed_in.get("/admin/")).status_code == 303


async def test_a_session_in_use_lives_on_but_not_for_ever(signed_in: Site, clock: StillClock) -> None:
    for _ in range(ABSOLUTE_MS // IDLE_MS * 2 - 1):
        clock.pass_ms(IDLE_MS // 2)
        assert (await signed_in.get("/admin/help")).status_code == 200
    clock.pass_ms(IDLE_MS // 2)

    assert (await signed_in.get("/admin/help")).status_code == 303


async def test_sign_out_ends_the_session_at_the_server(signed_in: Site) -> None:
    cookie = signed_in.client.cookies[COOKIE]

    reply = await signed_in.post("/admin/sign-out")
    again = await with_cookie(signed_in, cookie)

    assert reply.headers["location"] == "/admin/sign-in"
    assert again.status_code == 303
    assert "You are signed out" in (await signed_in.get("/admin/sign-in")).text


async def test_sign_out_is_no_link(signed_in: Site) -> None:
    assert (await signed_in.get("/admin/sign-out")).status_code == 405


async def test_sign_ins_good_and_bad_are_audited(site: Site) -> None:
    await site.post("/admin/sign-in", {"token": "wrong"})
    await site.sign_in()

    rows = await audit.list_page(site.stores.main, AuditFilter(action="admin.login"), limit=10)
    assert [row.outcome for row in rows] == ["success", "denied"]


async def test_an_address_that_has_to_wait_is_audited_without_what_was_typed(site: Site, clock: StillClock) -> None:
    for _ in range(site.parts.settings.login_rate_per_minute):
        await site.post("/admin/sign-in", {"token": "sk-typed-by-mistake"})
    clock.pass_ms(1000)
    refused = await site.post("/admin/sign-in", {"token": TOKEN})
    for _ in range(3):
        clock.pass_ms(20_000)
        await site.post("/admin/sign-in", {"token": "sk-typed-by-mistake"})

    rows = await audit.list_page(site.stores.main, AuditFilter(outcome="denied"), limit=9)
    assert refused.status_code == 429
    assert [row.action for row in rows] == ["admin.login", "admin.login"]
    assert rows[0].reason is not None and "refused since the last row" in rows[0].reason
    assert "typed-by-mistake" not in repr(rows)


async def test_the_management_token_of_before_still_lets_in(tmp_path: Path, clock: StillClock) -> None:
    site = await open_site(site_settings(tmp_path, management_token_previous=Secret("of before")), clock)

    reply = await site.post("/admin/sign-in", {"token": "of before"})

    assert reply.status_code == 303
    [row] = await audit.list_page(site.stores.main, AuditFilter(action="admin.login"), limit=9)
    assert row.actor == "management_token_previous"
    await site.close()
