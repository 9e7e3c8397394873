"""/manage/tokens as its callers see it, on both databases."""

from typing import Any

import httpx
import pytest

from sql.repositories import tokens
from sql.stores import Stores
from tests.admin.acts.acting import NOON_MS, StillClock


@pytest.fixture
async def project_id(manage: httpx.AsyncClient) -> str:
    return str((await manage.post("/manage/projects", json={"name": "p"})).json()["id"])


async def made(
    manage: httpx.AsyncClient, project_id: str, minutes: int | None = 60, **fields: object
) -> dict[str, Any]:
    body = {"project_id": project_id, "duration_minutes": minutes, **fields}
    reply = await manage.post("/manage/tokens", json=body)
    assert reply.status_code == 201, reply.text
    token: dict[str, Any] = reply.json()
    return token


async def listed(manage: httpx.AsyncClient, path: str = "/manage/tokens", **params: str) -> list[str]:
    reply = await manage.get(path, params=params)
    assert reply.status_code == 200, reply.text
    return [token["id"] for token in reply.json()]


async def test_a_token_is_shown_in_clear_once(manage: httpx.AsyncClient, project_id: str) -> None:
    token = await made(manage, project_id, max_requests=7)

    assert token["token"].startswith("sk-")
    assert (token["expires_at"], token["max_requests"]) == ("2026-09-21T15:13:20.000Z", 7)
    path = f"/manage/tokens/{token['id']}"
    replies = [await manage.get(p) for p in (path, "/manage/tokens", "/manage/audit")]
    assert not any(token["token"] in reply.text for reply in replies)
    assert replies[0].json() == {
        "id": token["id"],
        "token": replies[0].json()["token"],
        "project_id": project_id,
        "is_active": True,
        "expires_at": "2026-09-21T15:13:20.000Z",
        "request_count": 0,
        "max_requests": 7,
        "cache_hit_count": 0,
        "created_at": "2026-09-21T14:13:20.000Z",
        "last_used_at": None,
        "deactivated_at": None,
        "previous_until": None,
    }


async def test_null_minutes_never_expire_and_zero_requests_are_unlimited(
    manage: httpx.AsyncClient, project_id: str
) -> None:
    token = await made(manage, project_id, None, max_requests=0)

    assert (token["expires_at"], token["max_requests"]) == (None, None)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"duration_minutes": 0}, "duration_minutes"),
        ({"duration_minutes": -5}, "duration_minutes"),
        ({"duration_minutes": 525_601}, "duration_minutes"),
        ({"duration_minutes": 10**30}, "duration_minutes"),
        ({"duration_minutes": "60"}, "duration_minutes"),
        ({"duration_minutes": 1.5}, "duration_minutes"),
        ({"duration_minutes": 5, "max_requests": -1}, "max_requests"),
        ({"duration_minutes": 5, "max_requests": 2**63}, "max_requests"),
        ({"duration_minutes": 5, "project_id": ""}, "project_id"),
        ({}, "duration_minutes"),
    ],
)
async def test_wrong_values_of_a_token_are_named(
    light: httpx.AsyncClient, fields: dict[str, object], named: str
) -> None:
    reply = await light.post("/manage/tokens", json={"project_id": "p", **fields})

    assert reply.status_code == 422
    assert list(reply.json()["fields"]) == [named]


async def test_the_longest_token_lives_a_year(manage: httpx.AsyncClient, project_id: str) -> None:
    token = await made(manage, project_id, 525_600)

    assert token["expires_at"] == "2027-09-21T14:13:20.000Z"


async def test_unknown_and_inactive_projects_get_no_token(manage: httpx.AsyncClient, project_id: str) -> None:
    await manage.patch(f"/manage/projects/{project_id}", json={"is_active": False})

    inactive = await manage.post("/manage/tokens", json={"project_id": project_id, "duration_minutes": 5})
    unknown = await manage.post("/manage/tokens", json={"project_id": "nobody", "duration_minutes": 5})

    assert (inactive.status_code, inactive.json()["code"]) == (403, "project_inactive")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "project not found", "code": "not_found"})


async def test_the_token_itself_is_no_id(manage: httpx.AsyncClient, project_id: str) -> None:
    token = await made(manage, project_id)

    reply = await manage.get(f"/manage/tokens/{token['token']}")

    assert reply.status_code == 404
    assert token["token"] not in reply.text


async def test_filters_filter(manage: httpx.AsyncClient, project_id: str, clock: StillClock) -> None:
    other_project = str((await manage.post("/manage/projects", json={"name": "other"})).json()["id"])
    short = (await made(manage, project_id, 1))["id"]
    clock.pass_ms(1)
    revoked = (await made(manage, project_id, 60))["id"]
    clock.pass_ms(1)
    forever = (await made(manage, project_id, None))["id"]
    clock.pass_ms(1)
    other = (await made(manage, other_project, 60))["id"]
    await manage.delete(f"/manage/tokens/{revoked}")
    clock.pass_ms(60_000)

    assert await listed(manage) == [other, forever, revoked, short]
    assert await listed(manage, project_id=project_id) == [forever, revoked, short]
    assert await listed(manage, projectId=project_id) == [forever, revoked, short]
    assert await listed(manage, f"/manage/projects/{project_id}/tokens") == [forever, revoked, short]
    assert await listed(manage, is_active="false") == [revoked]
    assert await listed(manage, active_only="true") == [other, forever, short]
    assert await listed(manage, activeOnly="true", projectId=project_id) == [forever, short]
    assert await listed(manage, is_expired="true") == [short]
    assert await listed(manage, is_expired="false", is_active="true") == [other, forever]


async def test_revoking_is_idempotent(manage: httpx.AsyncClient, project_id: str) -> None:
    path = f"/manage/tokens/{(await made(manage, project_id))['id']}"

    codes = [(await manage.delete(path)).status_code for _ in range(2)]

    assert codes == [204, 204]
    shown = (await manage.get(path)).json()
    assert (shown["is_active"], shown["deactivated_at"]) == (False, "2026-09-21T14:13:20.000Z")
    assert (await manage.delete("/manage/tokens/nobody")).status_code == 404


async def test_a_token_can_be_changed(manage: httpx.AsyncClient, project_id: str, stores: Stores) -> None:
    token = await made(manage, project_id, max_requests=3)
    path = f"/manage/tokens/{token['id']}"
    await tokens.admit(stores.main, token["id"], NOON_MS)
    await manage.delete(path)

    active = (await manage.patch(path, json={"is_active": True})).json()
    later = (await manage.patch(path, json={"expires_at": "2030-01-01T01:00:00+01:00"})).json()
    long_ago = (await manage.patch(path, json={"expires_at": "0001-01-01T00:00:00+14:00"})).json()
    forever = (await manage.patch(path, json={"expires_at": None, "max_requests": None})).json()

    assert (active["is_active"], active["request_count"], active["max_requests"]) == (True, 1, 3)
    assert active["last_used_at"] == "2026-09-21T14:13:20.000Z"
    assert later["expires_at"] == "2030-01-01T00:00:00.000Z"
    assert long_ago["expires_at"] == "1970-01-01T00:00:00.000Z"
    assert (forever["expires_at"], forever["max_requests"], forever["request_count"]) == (None, None, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"is_active": None},
        {"max_requests": -1},
        {"expires_at": "tomorrow"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"project_id": "p"},
    ],
)
async def test_what_cannot_be_changed_is_refused(
    manage: httpx.AsyncClient, project_id: str, body: dict[str, object]
) -> None:
    path = f"/manage/tokens/{(await made(manage, project_id))['id']}"
    before = (await manage.get(path)).json()

    reply = await manage.patch(path, json=body)

    assert reply.status_code == 422
    assert (await manage.get(path)).json() == before


async def test_all_tokens_of_a_project_are_revoked_together(manage: httpx.AsyncClient, project_id: str) -> None:
    for _ in range(3):
        await made(manage, project_id)
    path = f"/manage/projects/{project_id}/tokens/revoke"

    first, second = await manage.post(path), await manage.post(path, content=b"is not looked at")

    assert first.json() == {"revoked_count": 3, "already_revoked_count": 0, "total_tokens": 3}
    assert second.json() == {"revoked_count": 0, "already_revoked_count": 3, "total_tokens": 3}
    assert (await manage.post("/manage/projects/nobody/tokens/revoke")).status_code == 404
