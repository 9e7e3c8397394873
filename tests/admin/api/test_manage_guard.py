"""Who passes into /manage: nobody by default, MANAGEMENT_TOKEN, and nobody who tries too often."""

import re

import httpx
import pytest

from admin.api.operation import Operation
from admin.api.routes import OPERATIONS
from config.errors import ConfigError
from config.secret import Secret
from sql.repositories import audit
from sql.rows import AuditFilter, AuditRow
from sql.stores import Stores
from tests.admin.acts.acting import StillClock, away_stores
from tests.admin.api.conftest import TOKEN, Connect

__all__ = ["away_stores"]

OPEN = {"/manage/openapi.json", "/manage/docs"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PATHS = sorted({operation.path for operation in OPERATIONS} | {"/manage", "/manage/", "/manage/nowhere/at/all"})


async def denied(stores: Stores) -> list[AuditRow]:
    return await audit.list_page(stores.main, AuditFilter(outcome="denied"), limit=100)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}], ids=["without", "wrong"])
async def test_nothing_is_served_without_the_token_but_what_is_named_here(
    sqlite_stores: Stores, connect: Connect, path: str, headers: dict[str, str]
) -> None:
    async with connect(sqlite_stores, token=None, login_rate_per_minute=1000) as stranger:
        for method in METHODS:
            reply = await stranger.request(method, re.sub(r"{\w+}", "x", path), headers=headers)

            if path in OPEN and method in ("GET", "HEAD"):
                assert reply.status_code == 200
            else:
                assert reply.status_code == 401, f"{method} {path}"
                assert reply.headers["www-authenticate"].startswith("Bearer")
    assert await audit.count(sqlite_stores.main, AuditFilter(outcome="success")) == 0


def test_only_what_tells_nothing_is_open() -> None:
    assert {operation.path for operation in OPERATIONS if operation.is_open} == OPEN


def test_everything_that_changes_something_is_audited_when_it_fails() -> None:
    def is_audited(operation: Operation) -> bool:
        return bool(operation.audit_action) or operation.status == 405 or operation.scope == "read"

    assert [op.path for op in OPERATIONS if op.method != "GET" and not is_audited(op)] == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_may_be_written_in_any_case(sqlite_stores: Stores, connect: Connect, scheme: str) -> None:
    async with connect(sqlite_stores, token=None) as client:
        reply = await client.get("/manage/projects", headers={"Authorization": f"{scheme} {TOKEN}"})

    assert reply.status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xff"],
)
async def test_anything_else_is_unauthorized(sqlite_stores: Stores, connect: Connect, header: str) -> None:
    async with connect(sqlite_stores, token=None) as client:
        reply = await client.get("/manage/projects", headers={b"Authorization": header.encode("latin-1")})

    assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")


async def test_two_credentials_are_none(sqlite_stores: Stores, connect: Connect) -> None:
    both = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    async with connect(sqlite_stores, token=None) as client:
        assert (await client.get("/manage/projects", headers=both)).status_code == 401


@pytest.mark.parametrize("unset", [None, Secret("")])
async def test_without_a_management_token_everything_is_closed(
    sqlite_stores: Stores, connect: Connect, unset: Secret | None
) -> None:
    async with connect(sqlite_stores, token="", management_token=unset) as client:
        reply = await client.get("/manage/projects")

    assert reply.status_code == 401
    assert "MANAGEMENT_TOKEN is not set" in reply.json()["error"]


async def test_guessing_ends_after_so_many_tries_even_when_it_hits(
    sqlite_stores: Stores, connect: Connect, clock: StillClock
) -> None:
    async with connect(sqlite_stores, token=None, login_rate_per_minute=3) as guesser:

        async def guess(token: str) -> httpx.Response:
            return await guesser.get("/manage/projects", headers={"Authorization": f"Bearer {token}"})

        codes = [(await guess(f"guess-{n}")).status_code for n in range(5)]
        right = await guess(TOKEN)
        clock.pass_ms(int(right.headers["retry-after"]) * 1000)
        after_waiting = await guess(TOKEN)

    assert codes == [401, 401, 401, 429, 429]
    assert (right.status_code, right.json()["code"]) == (429, "rate_limit_exceeded")
    assert after_waiting.status_code == 200


async def test_a_guesser_does_not_lock_out_other_addresses(sqlite_stores: Stores, connect: Connect) -> None:
    behind = {"trusted_proxies": ("10.0.0.0/8",), "login_rate_per_minute": 1}
    async with connect(sqlite_stores, peer="10.0.0.1", **behind) as client:
        evil = {"X-Forwarded-For": "198.51.100.66", "Authorization": "Bearer wrong"}
        guesses = [await client.get("/manage/projects", headers=evil) for _ in range(3)]

        reply = await client.get("/manage/projects", headers={"X-Forwarded-For": "198.51.100.66, 192.0.2.1"})

    assert [guess.status_code for guess in guesses] == [401, 429, 429]
    assert reply.status_code == 200


async def test_a_missing_token_is_no_guess(sqlite_stores: Stores, connect: Connect) -> None:
    async with connect(sqlite_stores, token=None, login_rate_per_minute=1) as client:
        codes = {(await client.get("/manage/projects")).status_code for _ in range(5)}
        reply = await client.get("/manage/projects", headers={"Authorization": f"Bearer {TOKEN}"})

    assert (codes, reply.status_code) == ({401}, 200)


async def test_requests_are_limited_by_address(sqlite_stores: Stores, connect: Connect) -> None:
    async with connect(sqlite_stores, manage_rate_per_minute=2) as client:
        replies = [await client.get("/manage/projects") for _ in range(3)]

    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[-1].headers["retry-after"] == "30"


async def test_refused_tokens_are_audited_once_a_minute_without_the_token(
    sqlite_stores: Stores, connect: Connect, clock: StillClock
) -> None:
    async with connect(sqlite_stores, token="sk-wrong-wrong-wrong", login_rate_per_minute=3) as client:
        for _ in range(5):
            await client.get("/manage/projects")
        clock.pass_ms(61_000)
        await client.get("/manage/projects")

    rows = await denied(sqlite_stores)
    assert [(row.action, row.client_ip, row.reason) for row in rows] == [
        ("manage.access", "192.0.2.7", "wrong credential; 5 refused since the last row of this address"),
        ("manage.access", "192.0.2.7", "wrong credential"),
    ]
    assert "wrong-wrong" not in repr(rows)


async def test_a_wrong_token_is_401_and_never_503_while_the_database_is_away(
    away_stores: Stores, connect: Connect
) -> None:
    async with connect(away_stores, token="wrong") as stranger, connect(away_stores) as known:
        refused = await stranger.get("/manage/projects")
        away = await known.get("/manage/projects")
        unsaved = await known.post("/manage/projects", json={"name": "x"})

    assert refused.status_code == 401
    for reply in (away, unsaved):
        assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")
        assert int(reply.headers["retry-after"]) > 0


def test_networks_that_cannot_be_stop_the_start(sqlite_stores: Stores, connect: Connect) -> None:
    with pytest.raises(ConfigError):
        connect(sqlite_stores, trusted_proxies=("everyone",))
