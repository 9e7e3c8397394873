"""Management tokens: each does what its scopes name, and nothing else."""

import re
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from admin.acts.management_tokens import SCOPES
from admin.api.operation import Operation
from admin.api.routes import OPERATIONS
from sql.repositories import audit
from sql.rows import AuditFilter
from sql.stores import Stores
from tests.admin.acts.acting import StillClock
from tests.admin.api.conftest import Connect

CLOSED = [operation for operation in OPERATIONS if not operation.is_open]
HOUR_MS = 3_600_000


async def new_token(root: httpx.AsyncClient, *scopes: str, name: str = "ci", **more: object) -> dict[str, Any]:
    reply = await root.post("/manage/management-tokens", json={"name": name, "scopes": list(scopes), **more})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def status(client: httpx.AsyncClient, operation: Operation) -> int:
    path = re.sub(r"{\w+}", "x", operation.path)
    return (await client.request(operation.method, path)).status_code


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_opens_what_names_it_and_nothing_else(
    sqlite_stores: Stores, connect: Connect, scope: str
) -> None:
    async with connect(sqlite_stores) as root:
        token = (await new_token(root, scope))["token"]

    async with connect(sqlite_stores, token=token) as client:
        opened = {op.summary for op in CLOSED if await status(client, op) != 403}

    assert opened == {op.summary for op in CLOSED if op.needs == scope}
    assert opened


@pytest.mark.parametrize(
    ("scope", "examples"),
    [
        ("read", ["GET /manage/projects", "GET /manage/tokens", "GET /manage/requests", "GET /manage/ledger"]),
        ("projects", ["POST /manage/projects", "POST /manage/projects/{id}/api_keys"]),
        ("tokens", ["POST /manage/tokens", "DELETE /manage/tokens/{id}", "POST /manage/projects/{id}/tokens/revoke"]),
        ("audit", ["GET /manage/audit", "GET /manage/audit/{id}"]),
        ("pipeline", ["POST /manage/dead-letters/{backend}/replay"]),
        (None, ["POST /manage/management-tokens", "GET /manage/management-tokens"]),
    ],
)
def test_these_need_these_scopes(scope: str | None, examples: Iterable[str]) -> None:
    assert set(examples) <= {f"{op.method} {op.path}" for op in CLOSED if op.needs == scope}


def test_every_change_says_who_may_do_it() -> None:
    silent = [op.path for op in CLOSED if op.method != "GET" and op.scope is None and not op.is_closed]

    assert silent == []


async def test_several_scopes_add_up(manage: httpx.AsyncClient, stores: Stores, connect: Connect) -> None:
    made = await new_token(manage, "projects", "read", "read")

    async with connect(stores, token=made["token"]) as client:
        created = await client.post("/manage/projects", json={"name": "by a program"})
        listed = await client.get("/manage/projects")
        refused = await client.get("/manage/audit")

    assert (created.status_code, listed.status_code, refused.status_code) == (201, 200, 403)
    assert made["scopes"] == ["read", "projects"]
    assert refused.json()["code"] == "forbidden"
    assert "the scope audit" in refused.json()["error"]


async def test_the_audit_log_names_the_token(manage: httpx.AsyncClient, stores: Stores, connect: Connect) -> None:
    made = await new_token(manage, "projects", name="deploy-bot")

    async with connect(stores, token=made["token"]) as client:
        await client.post("/manage/projects", json={"name": "p"}, headers={"X-Audit-Reason": "ticket 17"})
        for _ in range(3):
            await client.post("/manage/tokens", json={})

    [done] = await audit.list_page(stores.main, AuditFilter(action="project.create"), limit=9)
    assert (done.actor, done.outcome, done.reason) == ("management_token:deploy-bot", "success", "ticket 17")
    [refused] = await audit.list_page(stores.main, AuditFilter(outcome="denied"), limit=9)
    assert (refused.actor, refused.action) == ("management_token:deploy-bot", "token.create")
    assert refused.reason == "needs the scope tokens"


async def test_it_is_shown_once_and_kept_nowhere(manage: httpx.AsyncClient, stores: Stores) -> None:
    made = await new_token(manage, "read", duration_minutes=60)
    path = f"/manage/management-tokens/{made['id']}"

    shown, listed = await manage.get(path), await manage.get("/manage/management-tokens")

    assert made["token"].startswith("sk-mgmt-")
    rows = await audit.list_page(stores.main, AuditFilter(), limit=9)
    assert made["token"] not in shown.text + listed.text + repr(rows)
    assert listed.json() == [shown.json()]
    assert (shown.json()["is_active"], shown.json()["expires_at"]) == (True, made["expires_at"])


async def test_a_revoked_an_expired_and_an_unknown_one_are_the_same_401(
    manage: httpx.AsyncClient, stores: Stores, connect: Connect, clock: StillClock
) -> None:
    revoked = await new_token(manage, "read", name="revoked")
    expired = await new_token(manage, "read", name="expired", duration_minutes=1)
    path = f"/manage/management-tokens/{revoked['id']}"
    assert [(await manage.delete(path)).status_code for _ in range(2)] == [204, 204]
    clock.pass_ms(60_000)

    replies = []
    for token in (revoked["token"], expired["token"], "sk-mgmt-nobody", revoked["token"][:-1]):
        async with connect(stores, token=token) as client:
            replies.append(await client.get("/manage/projects"))

    assert {reply.status_code for reply in replies} == {401}
    assert len({reply.text for reply in replies}) == 1


async def test_a_name_is_given_once_and_scopes_are_those_that_there_are(manage: httpx.AsyncClient) -> None:
    await new_token(manage, "read", name="ci")

    async def refused(**body: object) -> int:
        return (await manage.post("/manage/management-tokens", json=body)).status_code

    assert await refused(name="ci", scopes=["read"]) == 409
    assert await refused(name="other", scopes=["everything"]) == 422
    assert await refused(name="other", scopes=[]) == 422
    assert await refused(name="a b", scopes=["read"]) == 422


async def test_when_it_was_last_used_is_known_to_the_minute(
    manage: httpx.AsyncClient, stores: Stores, connect: Connect, clock: StillClock
) -> None:
    made = await new_token(manage, "read")

    async def used() -> str:
        async with connect(stores, token=made["token"]) as client:
            await client.get("/manage/projects")
        shown = await manage.get(f"/manage/management-tokens/{made['id']}")
        return str(shown.json()["last_used_at"])

    first = await used()
    clock.pass_ms(1000)
    soon = await used()
    clock.pass_ms(60_001)
    later = await used()

    assert first == soon < later


async def test_rotated_both_secrets_work_until_the_grace_ends(
    manage: httpx.AsyncClient, stores: Stores, connect: Connect, clock: StillClock
) -> None:
    made = await new_token(manage, "read")
    path = f"/manage/management-tokens/{made['id']}/rotate"
    rotated = (await manage.post(path, json={"grace": "1h"})).json()

    async def statuses() -> list[int]:
        found = []
        for token in (made["token"], rotated["token"]):
            async with connect(stores, token=token) as client:
                found.append((await client.get("/manage/projects")).status_code)
        return found

    assert rotated["id"] == made["id"]
    assert await statuses() == [200, 200]
    clock.pass_ms(HOUR_MS)
    assert await statuses() == [401, 200]
    await manage.delete(f"/manage/management-tokens/{made['id']}")
    assert await statuses() == [401, 401]
    assert (await manage.post(path, json={})).status_code == 409


async def test_the_management_token_of_before_is_taken_beside_the_new_one(
    sqlite_stores: Stores, connect: Connect
) -> None:
    from config.secret import Secret

    async with connect(sqlite_stores, token="before", management_token_previous=Secret("before")) as client:
        made = await client.post("/manage/projects", json={"name": "p"})
    async with connect(sqlite_stores, token="", management_token_previous=Secret("")) as nobody:
        refused = await nobody.get("/manage/projects")

    assert (made.status_code, refused.status_code) == (201, 401)
    [row] = await audit.list_page(sqlite_stores.main, AuditFilter(action="project.create"), limit=2)
    assert row.actor == "management_token_previous"
