"""/manage/projects as its callers see it, on both databases."""

import httpx
import pytest

from admin.acts.api_keys import add_api_key
from config.secret import Secret
from sql.repositories import audit
from sql.rows import AuditFilter
from sql.sealing import Sealer, new_key
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, StillClock
from tests.admin.api.conftest import Connect

KEY = "sk-provider-0123456789abcdef"


async def made(manage: httpx.AsyncClient, name: str = "one", **fields: object) -> dict[str, object]:
    reply = await manage.post("/manage/projects", json={"name": name, "api_key": KEY, **fields})
    assert reply.status_code == 201, reply.text
    project: dict[str, object] = reply.json()
    return project


async def test_a_created_project_is_shown_with_its_key_obfuscated(manage: httpx.AsyncClient) -> None:
    reply = await manage.post("/manage/projects", json={"name": "one", "api_key": KEY})

    assert reply.status_code == 201
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["location"] == f"/manage/projects/{reply.json()['id']}"
    assert reply.json() == {
        "id": reply.json()["id"],
        "name": "one",
        "api_key": "sk-provi...cdef",
        "api_key_count": 1,
        "is_active": True,
        "recording": "full",
        "on_disconnect": "cancel",
        "created_at": "2026-09-21T14:13:20.000Z",
        "updated_at": "2026-09-21T14:13:20.000Z",
        "deactivated_at": None,
    }
    assert (await manage.get(reply.headers["location"])).json() == reply.json()


async def test_a_project_says_what_becomes_of_answers_whose_client_has_left(manage: httpx.AsyncClient) -> None:
    made = (await manage.post("/manage/projects", json={"name": "one", "on_disconnect": "drain"})).json()
    one = f"/manage/projects/{made['id']}"

    renamed = (await manage.patch(one, json={"name": "two"})).json()
    changed = (await manage.patch(one, json={"on_disconnect": "cancel"})).json()
    refused = await manage.patch(one, json={"on_disconnect": "leave"})

    assert [made["on_disconnect"], renamed["on_disconnect"], changed["on_disconnect"]] == ["drain", "drain", "cancel"]
    assert refused.status_code == 422
    newest = (await manage.get("/manage/audit")).json()
    assert "on_disconnect" in str(newest)


async def test_no_answer_holds_a_key_in_clear(manage: httpx.AsyncClient) -> None:
    project = await made(manage)
    keys = f"/manage/projects/{project['id']}/api_keys"

    replies = [
        await manage.patch(f"/manage/projects/{project['id']}", json={"api_key": KEY + "2"}),
        await manage.post(keys, json={"provider": "openai", "key": KEY + "3"}),
        await manage.get("/manage/projects"),
        await manage.get(keys),
        await manage.get("/manage/audit"),
    ]

    assert [reply.status_code for reply in replies] == [200, 201, 200, 200, 200]
    assert not any(KEY in reply.text for reply in replies)


async def test_the_same_name_twice_is_a_conflict(manage: httpx.AsyncClient) -> None:
    await made(manage, "one")
    other = await made(manage, "two")

    created = await manage.post("/manage/projects", json={"name": "one"})
    renamed = await manage.patch(f"/manage/projects/{other['id']}", json={"name": "one"})

    assert (created.status_code, renamed.status_code) == (409, 409)
    assert created.json()["code"] == "conflict"
    assert "name" in created.json()["fields"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "api_key": ""}, "api_key"),
        ({"name": "x", "api_key": "sk-12345...abcd"}, "api_key"),
        ({"name": "x", "api_key": "sk-****"}, "api_key"),
        ({"name": "x", "recording": "some"}, "recording"),
        ({"name": "x", "openai_api_key": "y"}, "openai_api_key"),
    ],
)
async def test_wrong_values_are_named(light: httpx.AsyncClient, body: dict[str, object], field: str) -> None:
    reply = await light.post("/manage/projects", json=body)

    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_request"
    assert list(reply.json()["fields"]) == [field]


async def test_a_key_that_is_obfuscated_is_not_taken_for_one(light: httpx.AsyncClient) -> None:
    project = await made(light)

    reply = await light.patch(f"/manage/projects/{project['id']}", json={"api_key": project["api_key"]})

    assert reply.status_code == 422
    assert "cannot save obfuscated API key" in reply.json()["error"]


async def test_projects_are_listed_by_name_and_filtered(manage: httpx.AsyncClient) -> None:
    for name in ("beta", "alpha", "gamma"):
        await made(manage, name)
    gamma = (await manage.get("/manage/projects", params={"search": "GAM"})).json()[0]
    await manage.patch(f"/manage/projects/{gamma['id']}", json={"is_active": False})

    async def names(**params: str) -> list[str]:
        return [project["name"] for project in (await manage.get("/manage/projects", params=params)).json()]

    assert await names() == ["alpha", "beta", "gamma"]
    assert await names(search="a") == ["alpha", "beta", "gamma"]
    assert await names(search="%") == []
    assert await names(is_active="true") == ["alpha", "beta"]
    assert await names(is_active="false") == ["gamma"]


async def test_an_empty_list_is_an_empty_array(manage: httpx.AsyncClient) -> None:
    assert (await manage.get("/manage/projects")).json() == []


async def test_projects_are_not_deleted(manage: httpx.AsyncClient, stores: Stores) -> None:
    project = await made(manage)

    reply = await manage.delete(f"/manage/projects/{project['id']}")

    assert reply.status_code == 405
    assert {"GET", "PATCH"} <= set(reply.headers["allow"].split(", "))
    assert "DELETE" not in reply.headers["allow"]
    assert "not permitted" in reply.json()["message"]
    [told] = await audit.list_page(stores.main, AuditFilter(action="project.delete"), limit=2)
    assert (told.outcome, told.object_id) == ("failure", project["id"])


async def test_a_refused_change_is_audited_as_failure(manage: httpx.AsyncClient, stores: Stores) -> None:
    await made(manage)

    await manage.post("/manage/projects", json={"name": "one"}, headers={"x-request-id": "request-77"})

    [told] = await audit.list_page(stores.main, AuditFilter(outcome="failure"), limit=2)
    assert (told.action, told.request_id) == ("project.create", "request-77")
    assert told.reason == "a project with this name exists"


async def test_switching_off_with_its_tokens(manage: httpx.AsyncClient) -> None:
    project = await made(manage)
    path = f"/manage/projects/{project['id']}"
    token = (await manage.post("/manage/tokens", json={"project_id": project["id"], "duration_minutes": 5})).json()

    alone = await manage.patch(path, json={"revoke_tokens": True})
    off = await manage.patch(path, json={"is_active": False, "revoke_tokens": True})

    assert alone.status_code == 422
    assert list(alone.json()["fields"]) == ["revoke_tokens"]
    assert (off.status_code, off.json()["is_active"]) == (200, False)
    assert off.json()["deactivated_at"] is not None
    assert (await manage.get(f"/manage/tokens/{token['id']}")).json()["is_active"] is False


async def test_api_keys_of_a_project(manage: httpx.AsyncClient) -> None:
    project = await made(manage)
    path = f"/manage/projects/{project['id']}/api_keys"

    created = await manage.post(path, json={"provider": "anthropic", "key": "sk-ant-0123456789abcdefghij", "weight": 2})
    twice = await manage.post(path, json={"provider": "anthropic", "key": "sk-ant-0123456789abcdefghij"})
    unknown = await manage.post(path, json={"provider": "nobody", "key": "k-0123456789"})
    changed = await manage.patch(created.headers["location"], json={"weight": 0})
    listed = await manage.get(path)
    removed = await manage.delete(created.headers["location"])
    again = await manage.delete(created.headers["location"])

    assert (created.status_code, created.json()["key"], created.json()["weight"]) == (201, "sk-ant-0...ghij", 2)
    assert (twice.status_code, unknown.status_code) == (409, 422)
    assert "anthropic" in unknown.json()["fields"]["provider"]
    assert changed.json()["weight"] == 0
    assert [(key["provider"], key["key"]) for key in listed.json()] == [
        ("anthropic", "sk-ant-0...ghij"),
        ("openai", "sk-provi...cdef"),
    ]
    assert (removed.status_code, removed.content, again.status_code) == (204, b"", 404)


async def test_a_project_whose_keys_do_not_open_can_still_be_seen_and_switched_off(
    sqlite_stores: Stores, connect: Connect
) -> None:
    sealed = type(sqlite_stores)(
        main=sqlite_stores.main, records=sqlite_stores.records, sealer=Sealer(Secret(new_key()))
    )
    async with connect(sealed) as before, connect(sqlite_stores) as after:
        project = await made(before)
        path = f"/manage/projects/{project['id']}"

        shown = await after.get(path)
        off = await after.patch(path, json={"is_active": False})
        keys = await after.get(path + "/api_keys")

    assert (shown.json()["api_key"], shown.json()["api_key_count"]) == ("********", None)
    assert off.json()["is_active"] is False
    assert keys.status_code == 500
    assert "ENCRYPTION_KEY" in keys.json()["error"]


async def test_the_shown_key_is_the_oldest_of_the_default_provider(manage: httpx.AsyncClient, stores: Stores) -> None:
    project = await made(manage)
    later = StillClock()
    later.pass_ms(1000)
    await add_api_key(
        stores, later, ACTOR, str(project["id"]), provider="openai", key=Secret("sk-later-0123456789"), weight=9
    )

    shown = (await manage.get(f"/manage/projects/{project['id']}")).json()

    assert (shown["api_key"], shown["api_key_count"]) == ("sk-provi...cdef", 2)
