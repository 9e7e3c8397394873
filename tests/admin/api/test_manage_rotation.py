"""Rotation by /manage."""

import httpx
import pytest

from tests.admin.acts.acting import StillClock


async def a_project(manage: httpx.AsyncClient) -> str:
    return str((await manage.post("/manage/projects", json={"name": "p", "api_key": "sk-old-0123456789"})).json()["id"])


async def test_a_token_is_rotated_and_shown_once(manage: httpx.AsyncClient) -> None:
    body = {"project_id": await a_project(manage), "duration_minutes": 60, "max_requests": 5}
    made = (await manage.post("/manage/tokens", json=body)).json()

    reply = await manage.post(f"/manage/tokens/{made['id']}/rotate", json={"grace": "90m"})

    rotated = reply.json()
    assert reply.status_code == 200
    assert (rotated["id"], rotated["max_requests"], rotated["expires_at"]) == (made["id"], 5, made["expires_at"])
    assert rotated["token"] != made["token"]
    assert rotated["previous_until"] == "2026-09-21T15:43:20.000Z"
    shown = (await manage.get(f"/manage/tokens/{made['id']}")).json()
    assert shown["previous_until"] == rotated["previous_until"]
    assert rotated["token"] not in repr(shown)


async def test_a_day_is_the_grace_that_nobody_named(manage: httpx.AsyncClient) -> None:
    body = {"project_id": await a_project(manage), "duration_minutes": None}
    made = (await manage.post("/manage/tokens", json=body)).json()

    rotated = (await manage.post(f"/manage/tokens/{made['id']}/rotate", json={})).json()

    assert rotated["previous_until"] == "2026-09-22T14:13:20.000Z"


@pytest.mark.parametrize("grace", ["169h", "1d", "-1h", "", "1h30m", "1.5h", 24, None])
async def test_a_grace_that_cannot_be_is_refused(light: httpx.AsyncClient, grace: object) -> None:
    reply = await light.post("/manage/tokens/x/rotate", json={"grace": grace})

    assert (reply.status_code, list(reply.json()["fields"])) == (422, ["grace"])


async def test_a_revoked_token_is_not_rotated(manage: httpx.AsyncClient) -> None:
    body = {"project_id": await a_project(manage), "duration_minutes": 60}
    made = (await manage.post("/manage/tokens", json=body)).json()
    await manage.delete(f"/manage/tokens/{made['id']}")

    reply = await manage.post(f"/manage/tokens/{made['id']}/rotate", json={})

    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_an_api_key_is_rotated_and_the_rotation_undone(manage: httpx.AsyncClient, clock: StillClock) -> None:
    keys = f"/manage/projects/{await a_project(manage)}/api_keys"
    [old] = (await manage.get(keys)).json()
    clock.pass_ms(1000)

    reply = await manage.post(f"{keys}/{old['id']}/rotate", json={"key": "sk-new-0123456789", "grace": "1h"})

    new = reply.json()
    assert (reply.status_code, reply.headers["location"]) == (201, f"{keys}/{new['id']}")
    assert (new["weight"], new["replaced_by"]) == (1, None)
    waiting = next(key for key in (await manage.get(keys)).json() if key["id"] == old["id"])
    assert (waiting["weight"], waiting["replaced_by"], waiting["retires_at"]) == (
        0,
        new["id"],
        "2026-09-21T15:13:21.000Z",
    )

    undone = await manage.post(f"{keys}/{new['id']}/undo-rotation")

    assert undone.json()["id"] == old["id"]
    assert [(key["id"], key["weight"]) for key in (await manage.get(keys)).json()] == [(old["id"], 1)]
    assert (await manage.post(f"{keys}/{old['id']}/undo-rotation")).status_code == 409


async def test_the_project_shows_the_key_in_use(manage: httpx.AsyncClient) -> None:
    project_id = await a_project(manage)
    keys = f"/manage/projects/{project_id}/api_keys"
    [old] = (await manage.get(keys)).json()
    before = (await manage.get(f"/manage/projects/{project_id}")).json()["api_key"]

    await manage.post(f"{keys}/{old['id']}/rotate", json={"key": "sk-brand-new-9876543210"})

    after = (await manage.get(f"/manage/projects/{project_id}")).json()["api_key"]
    assert after != before
    assert after.endswith("210")
