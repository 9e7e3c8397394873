"""/manage/policy as its callers see it, on both databases."""

from typing import Any

import httpx

from sql.repositories import audit
from sql.rows import AuditFilter
from sql.stores import Stores

POLICY, LIMITS = "/manage/policy", "/manage/policy/limits"
SHARE = {"name": "fair share", "measure": "requests", "most": 600, "window": "1m", "per": ["token"]}
BUDGET = {"name": "budget", "measure": "cost", "most": 250.5, "window": "month", "time_zone": "Europe/Berlin"}


async def put(manage: httpx.AsyncClient, version: int, **document: Any) -> httpx.Response:
    return await manage.put(POLICY, json={"version": version, "document": document})


async def test_there_is_none_until_one_is_put(manage: httpx.AsyncClient) -> None:
    before = await manage.get(POLICY)

    reply = await put(manage, 0, limits=[SHARE, BUDGET], unlisted_models="deny")

    assert before.json() == {"version": 0, "document": {}, "updated_at": None, "updated_by": None}
    assert reply.status_code == 200
    assert reply.json() == {
        "version": 1,
        "document": {"limits": [SHARE, BUDGET], "unlisted_models": "deny"},
        "updated_at": "2026-09-21T14:13:20.000Z",
        "updated_by": "management_token",
    }
    assert (await manage.get(POLICY)).json() == reply.json()


async def test_who_read_an_older_version_is_told_to_read_again(manage: httpx.AsyncClient) -> None:
    await put(manage, 0, limits=[SHARE])

    late = await put(manage, 0, limits=[BUDGET])

    assert (late.status_code, late.json()["code"]) == (409, "conflict")
    assert late.json()["error"] == "the policy was changed meanwhile: it has version 1, not 0; read it again"
    assert list(late.json()["fields"]) == ["version"]
    assert (await manage.get(POLICY)).json()["document"] == {"limits": [SHARE]}


async def test_all_mistakes_are_told_at_their_places_and_the_attempt_is_audited(
    manage: httpx.AsyncClient, stores: Stores
) -> None:
    reply = await put(manage, 0, limits=[{**SHARE, "most": 0.5, "window": "1x"}, BUDGET, BUDGET])

    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert list(reply.json()["fields"]) == ["limits", "limits[0]"]
    assert "none of 1s to 24h" in reply.json()["fields"]["limits[0]"]
    assert (await manage.get(POLICY)).json()["version"] == 0
    [row] = await audit.list_page(stores.main, AuditFilter(), limit=9)
    assert (row.action, row.outcome, row.object_kind) == ("policy.update", "failure", "policy")


async def test_a_check_says_what_would_change_and_changes_nothing(manage: httpx.AsyncClient) -> None:
    await put(manage, 0, limits=[SHARE, BUDGET])
    other = {"limits": [{**SHARE, "most": 1}, {**SHARE, "name": "new"}], "models": [{"allow": ["gpt-*"]}]}

    right = await manage.post(f"{POLICY}/check", json={"document": other})
    wrong = await manage.post(f"{POLICY}/check", json={"document": {"limits": [{**SHARE, "measure": "water"}]}})

    assert right.json() == {
        "version": 1,
        "limits": 2,
        "models": 1,
        "changes": {"added": ["new"], "changed": ["fair share"], "removed": ["budget"], "fields": ["models"]},
    }
    assert (wrong.status_code, list(wrong.json()["fields"])) == (422, ["limits[0].measure"])
    assert (await manage.get(POLICY)).json()["version"] == 1


async def test_single_limits_are_put_and_removed_by_name(manage: httpx.AsyncClient) -> None:
    await manage.put(LIMITS, json={"limit": SHARE})
    await manage.put(LIMITS, json={"limit": BUDGET})

    changed = await manage.put(LIMITS, json={"limit": {**SHARE, "most": 5}})
    removed = await manage.delete(LIMITS, params={"name": "budget"})
    again = await manage.delete(LIMITS, params={"name": "budget"})
    wrong = await manage.put(LIMITS, json={"limit": {"name": "x"}})

    assert changed.json()["document"] == {"limits": [{**SHARE, "most": 5}, BUDGET]}
    assert (removed.json()["version"], removed.json()["document"]) == (4, {"limits": [{**SHARE, "most": 5}]})
    assert (again.status_code, again.json()["error"]) == (404, "limit not found")
    assert (wrong.status_code, list(wrong.json()["fields"])) == (422, ["limits[1]"])


async def test_the_description_tells_what_a_document_may_hold(light: httpx.AsyncClient) -> None:
    schemas = (await light.get("/manage/openapi.json")).json()["components"]["schemas"]

    assert schemas["NewPolicy"]["properties"]["document"]["$ref"] == "#/components/schemas/Policy"
    assert {"name", "measure", "most", "window", "per", "only"} <= set(schemas["Limit"]["properties"])
