"""Tokens from the browser's side: shown once, changed, revoked."""

import re

import pytest
from msgspec.structs import replace

from admin.snippets import proxy_url
from sql.repositories import tokens
from sql.rows import TokenRow, TokenUsage
from sql.sealing import hash_token
from tests.admin.acts.acting import StillClock
from tests.admin.pages.site import PARTIAL, Site, project, token

_DAY_MS = 86_400_000
_SECRET = re.compile(r'id="the-token">(sk-[A-Za-z0-9_-]{43})<')


async def stored(site: Site, token_id: str) -> TokenRow:
    row = await tokens.get(site.stores.main, token_id)
    assert row
    return row


def used(row: TokenRow, requests: int, clock: StillClock) -> TokenUsage:
    return TokenUsage(id=row.id, requests=requests, cache_hits=0, last_used_at_ms=clock.now_ms())


@pytest.mark.parametrize("headers", [{}, PARTIAL], ids=["plain", "htmx"])
async def test_a_new_token_is_shown_once_and_kept_as_a_hash(signed_in: Site, headers: dict[str, str]) -> None:
    row = await project(signed_in.stores)

    reply = await signed_in.post("/admin/tokens/new", {"project_id": row.id, "duration": "7d"}, headers=headers)

    secret = _SECRET.findall(reply.text)[0]
    made = await tokens.by_hash(signed_in.stores.main, hash_token(secret))
    assert reply.status_code == 201
    assert made
    for path in (f"/admin/tokens/{made.id}", "/admin/tokens", f"/admin/projects/{row.id}", "/admin/audit"):
        page = (await signed_in.get(path)).text
        assert secret not in page
        assert made.token_hash not in page


async def test_the_lines_to_paste_hold_the_token_and_the_proxys_address(signed_in: Site) -> None:
    row = await project(signed_in.stores)

    page = (await signed_in.post("/admin/tokens/new", {"project_id": row.id})).text

    secret = _SECRET.findall(page)[0]
    lines = re.findall(r'id="snippet-(\w+)">(.*?)</code>', page, re.DOTALL)
    assert [name for name, _ in lines] == ["curl", "python", "node"]
    for _, code in lines:
        assert secret in code
        assert "http://127.0.0.1:8080/v1" in code


async def test_the_lines_speak_the_dialect_of_the_key_that_the_project_has(signed_in: Site) -> None:
    row = await project(signed_in.stores, key="")
    await signed_in.post(f"/admin/projects/{row.id}/keys", {"provider": "anthropic", "key": "sk-ant-0123456789"})

    page = (await signed_in.post("/admin/tokens/new", {"project_id": row.id})).text

    assert "http://127.0.0.1:8080/anthropic/v1/messages" in page
    assert "x-api-key: sk-" in page


@pytest.mark.parametrize(
    ("public_url", "listens", "browser", "expected"),
    [
        ("https://llm.example.com/", ":8080", "http://localhost:8081", "https://llm.example.com"),
        ("", ":8080", "http://localhost:8081", "http://localhost:8080"),
        ("", ":9090", "http://192.168.1.5:8081", "http://192.168.1.5:9090"),
        ("", "0.0.0.0:8080", "http://[::1]:8081", "http://[::1]:8080"),
        ("", "127.0.0.1:8080", "http://somewhere:8081", "http://127.0.0.1:8080"),
        ("", ":8080", "https://admin.example.com", "https://admin.example.com"),
    ],
)
async def test_where_the_proxy_is(site: Site, public_url: str, listens: str, browser: str, expected: str) -> None:
    settings = replace(site.parts.settings, listen_addr=listens)

    assert proxy_url(replace(site.parts, public_url=public_url, settings=settings), browser) == expected


@pytest.mark.parametrize(("duration", "days"), [("1d", 1), ("30d", 30), ("365d", 365)])
async def test_a_token_expires_after_what_was_chosen(
    signed_in: Site, clock: StillClock, duration: str, days: int
) -> None:
    row = await project(signed_in.stores)

    await signed_in.post("/admin/tokens/new", {"project_id": row.id, "duration": duration, "max_requests": "100"})

    made = (await tokens.list_page(signed_in.stores.main, now_ms=clock.now_ms(), limit=1))[0]
    assert (made.expires_at_ms, made.max_requests) == (clock.now_ms() + days * _DAY_MS, 100)


async def test_a_token_may_live_for_ever_and_without_a_quota(signed_in: Site, clock: StillClock) -> None:
    row = await project(signed_in.stores)

    page = await signed_in.post("/admin/tokens/new", {"project_id": row.id, "duration": "never", "max_requests": ""})

    made = (await tokens.list_page(signed_in.stores.main, now_ms=clock.now_ms(), limit=1))[0]
    assert (made.expires_at_ms, made.max_requests) == (None, None)
    assert "Never expires. No quota." in page.text


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"duration": "for ever"}, "Choose one of the durations"),
        ({"max_requests": "many"}, "whole number of requests"),
        ({"max_requests": "0"}, "whole number of requests"),
        ({"max_requests": "99999999999999999999"}, "whole number of requests"),
        ({"project_id": ""}, "Choose a project"),
        ({"project_id": "gone"}, "This project has been deleted"),
    ],
)
async def test_a_wrong_field_of_a_new_token_is_told(signed_in: Site, form: dict[str, str], says: str) -> None:
    row = await project(signed_in.stores)

    reply = await signed_in.post("/admin/tokens/new", {"project_id": row.id, **form})

    assert reply.status_code == 422
    assert says in reply.text


async def test_an_inactive_project_gets_no_token(signed_in: Site) -> None:
    row = await project(signed_in.stores)
    await signed_in.post(f"/admin/projects/{row.id}/switch")

    reply = await signed_in.post("/admin/tokens/new", {"project_id": row.id})

    assert reply.status_code == 422
    assert "Activate it first" in reply.text


async def test_expiry_and_quota_can_be_changed_and_the_count_stays(signed_in: Site, clock: StillClock) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id)
    await tokens.add_usage(signed_in.stores.main, [used(made, 7, clock)])

    await signed_in.post(f"/admin/tokens/{made.id}", {"duration": "7d", "max_requests": "10"})

    row = await stored(signed_in, made.id)
    assert (row.expires_at_ms, row.max_requests) == (clock.now_ms() + 7 * _DAY_MS, 10)
    page = (await signed_in.get(f"/admin/tokens/{made.id}")).text
    assert 'max="100" value="70"' in page


async def test_an_expiry_that_is_not_chosen_stays(signed_in: Site) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id)

    await signed_in.post(f"/admin/tokens/{made.id}", {"duration": "keep", "max_requests": ""})

    assert (await stored(signed_in, made.id)).expires_at_ms == made.expires_at_ms


async def test_a_wrong_quota_is_told_and_changes_nothing(signed_in: Site) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id, max_requests=5)

    reply = await signed_in.post(f"/admin/tokens/{made.id}", {"duration": "never", "max_requests": "-1"})

    assert reply.status_code == 422
    assert await stored(signed_in, made.id) == made


async def test_in_a_list_the_row_is_renewed_where_it_stands(signed_in: Site) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id)
    headers = {**PARTIAL, "HX-Target": f"tr#token-{made.id}"}

    revoked = await signed_in.post(f"/admin/tokens/{made.id}/revoke", {"confirmed": "1"}, headers=headers)
    back = await signed_in.post(f"/admin/tokens/{made.id}/reactivate", headers=headers)

    assert revoked.text.startswith(f'<tr id="token-{made.id}"')
    assert "revoked</span>" in revoked.text
    assert "Token revoked" in revoked.headers["hx-trigger"]
    assert "active</span>" in back.text
    assert (await stored(signed_in, made.id)).is_active


async def test_without_a_dialog_revoking_asks_on_a_page(signed_in: Site) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id)

    asked = await signed_in.post(f"/admin/tokens/{made.id}/revoke")
    still_active = (await stored(signed_in, made.id)).is_active
    done = await signed_in.post(f"/admin/tokens/{made.id}/revoke", {"confirmed": "1"})

    assert f"Revoke {made.hint}?" in asked.text
    assert still_active
    assert done.headers["location"] == f"/admin/tokens/{made.id}"
    assert not (await stored(signed_in, made.id)).is_active


async def test_all_tokens_of_a_project_go_only_when_its_name_is_typed(signed_in: Site) -> None:
    row = await project(signed_in.stores, "Support bot")
    made = [(await token(signed_in.stores, row.id))[0] for _ in range(3)]
    other, _ = await token(signed_in.stores, (await project(signed_in.stores, "Other")).id)

    wrong = await signed_in.post(f"/admin/projects/{row.id}/revoke-all", {"name": "support bot"})
    right = await signed_in.post(f"/admin/projects/{row.id}/revoke-all", {"name": "Support bot"})

    assert (wrong.status_code, right.status_code) == (422, 303)
    assert "3 active tokens" in wrong.text
    assert [(await stored(signed_in, t.id)).is_active for t in [*made, other]] == [False, False, False, True]


async def test_filters_choose_by_state_and_project(signed_in: Site, clock: StillClock) -> None:
    row, other = await project(signed_in.stores, "One"), await project(signed_in.stores, "Other")
    active, _ = await token(signed_in.stores, row.id)
    revoked, _ = await token(signed_in.stores, row.id)
    used_up, _ = await token(signed_in.stores, row.id, max_requests=1)
    await token(signed_in.stores, other.id)
    await tokens.revoke(signed_in.stores.main, revoked.id, clock.now_ms())
    assert await tokens.admit(signed_in.stores.main, used_up.id, clock.now_ms())

    async def ids(query: str) -> list[str]:
        page = (await signed_in.get(f"/admin/tokens?project={row.id}&{query}")).text
        return re.findall(r'<tr id="token-([^"]+)"', page)

    assert await ids("state=active") == [active.id]
    assert await ids("state=used-up") == [used_up.id]
    assert await ids("state=revoked") == [revoked.id]
    assert await ids("state=expired") == []
    clock.pass_ms(2 * _DAY_MS)
    await signed_in.sign_in()
    assert set(await ids("state=expired")) == {active.id, used_up.id}


async def test_a_spent_quota_is_said(signed_in: Site, clock: StillClock) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id, max_requests=5)
    await tokens.add_usage(signed_in.stores.main, [used(made, 5, clock)])

    assert "used up</span>" in (await signed_in.get(f"/admin/tokens/{made.id}")).text


async def test_a_token_is_rotated_and_its_new_secret_shown_once(signed_in: Site, clock: StillClock) -> None:
    made, old = await token(signed_in.stores, (await project(signed_in.stores)).id)

    page = await signed_in.post(f"/admin/tokens/{made.id}/rotate", {"grace": "1h"})

    [new] = re.findall(r'<code id="the-token">(sk-[^<]+)</code>', page.text)
    row = await stored(signed_in, made.id)
    assert (page.status_code, row.token_hash, row.previous_hash) == (200, hash_token(new), hash_token(old))
    assert row.previous_until_ms == clock.now_ms() + 3_600_000
    shown = (await signed_in.get(f"/admin/tokens/{made.id}")).text
    assert "Old secret" in shown
    assert new not in shown


async def test_without_a_grace_the_old_secret_is_said_to_be_refused(signed_in: Site) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id)

    page = await signed_in.post(f"/admin/tokens/{made.id}/rotate", {"grace": "0"})

    assert "refused from now on" in page.text
    assert "Old secret" not in (await signed_in.get(f"/admin/tokens/{made.id}")).text


async def test_a_revoked_token_is_not_rotated(signed_in: Site) -> None:
    made, _ = await token(signed_in.stores, (await project(signed_in.stores)).id)
    await signed_in.post(f"/admin/tokens/{made.id}/revoke", {"confirmed": "1"})

    reply = await signed_in.post(f"/admin/tokens/{made.id}/rotate", {"grace": "1h"})

    assert reply.status_code == 303
    assert (await stored(signed_in, made.id)).token_hash == made.token_hash
    assert "rotate-form" not in (await signed_in.get(f"/admin/tokens/{made.id}")).text
