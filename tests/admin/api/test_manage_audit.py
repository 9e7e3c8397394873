"""/manage/audit as its callers see it, on both databases."""

import httpx
import pytest

from tests.admin.acts.acting import StillClock


@pytest.fixture
async def project_id(manage: httpx.AsyncClient, clock: StillClock) -> str:
    project = (
        await manage.post("/manage/projects", json={"name": "one"}, headers={"x-request-id": "request-a"})
    ).json()
    clock.pass_ms(1000)
    await manage.patch(f"/manage/projects/{project['id']}", json={"name": "two"}, headers={"x-request-id": "request-b"})
    clock.pass_ms(1000)
    await manage.post("/manage/projects", json={"name": "two"}, headers={"x-request-id": "request-c"})
    return str(project["id"])


async def actions(manage: httpx.AsyncClient, **params: str) -> list[str]:
    reply = await manage.get("/manage/audit", params=params)
    assert reply.status_code == 200, reply.text
    return [f"{event['action']} {event['outcome']}" for event in reply.json()["events"]]


CREATED, UPDATED, REFUSED = "project.create success", "project.update success", "project.create failure"


async def test_an_event_says_who_did_what_before_and_after(manage: httpx.AsyncClient, project_id: str) -> None:
    [event] = (await manage.get("/manage/audit", params={"action": "project.update"})).json()["events"]

    assert (event["before"], event["after"]) == ({"name": "one"}, {"name": "two"})
    assert event["timestamp"] == "2026-09-21T14:13:21.000Z"
    assert (event["actor"], event["client_ip"], event["request_id"]) == ("management_token", "192.0.2.7", "request-b")
    assert (event["method"], event["path"]) == ("PATCH", f"/manage/projects/{project_id}")
    assert (event["object_kind"], event["object_id"], event["project_id"]) == ("project", project_id, project_id)
    assert event["seq"] == 2
    assert (await manage.get(f"/manage/audit/{event['id']}")).json() == event


async def test_every_filter_filters(manage: httpx.AsyncClient, project_id: str) -> None:
    everything = [REFUSED, UPDATED, CREATED]

    assert await actions(manage) == everything
    assert await actions(manage, action="project.create") == [REFUSED, CREATED]
    assert await actions(manage, outcome="failure") == [REFUSED]
    assert await actions(manage, project_id=project_id) == [UPDATED, CREATED]
    assert await actions(manage, object_kind="project", object_id=project_id) == [UPDATED, CREATED]
    assert await actions(manage, actor="management_token") == everything
    assert await actions(manage, actor="somebody") == []
    assert await actions(manage, client_ip="192.0.2.7") == everything
    assert await actions(manage, client_ip="192.0.2.8") == []
    assert await actions(manage, request_id="request-b") == [UPDATED]
    assert await actions(manage, correlation_id="request-b") == [UPDATED]
    assert await actions(manage, method="PATCH") == [UPDATED]
    assert await actions(manage, path="/manage/projects") == [REFUSED, CREATED]
    assert await actions(manage, search="NAME EXISTS") == [REFUSED]
    assert await actions(manage, search="_equest-_") == []
    assert await actions(manage, start_time="2026-09-21T14:13:21Z") == [REFUSED, UPDATED]
    assert await actions(manage, end_time="2026-09-21T16:13:21+02:00") == [CREATED]
    assert await actions(manage, token_id="nobody") == []


async def test_an_empty_result_is_an_empty_array(manage: httpx.AsyncClient) -> None:
    reply = await manage.get("/manage/audit")

    assert reply.json() == {
        "events": [],
        "pagination": {
            "page": 1,
            "page_size": 100,
            "total_count": 0,
            "total_pages": 0,
            "has_next": False,
            "has_prev": False,
            "next_cursor": None,
        },
    }


async def test_reading_leaves_no_event_and_an_unknown_one_is_not_found(
    manage: httpx.AsyncClient, project_id: str
) -> None:
    await manage.get("/manage/projects")
    await manage.get(f"/manage/projects/{project_id}")

    assert len(await actions(manage)) == 3
    assert (await manage.get("/manage/audit/nobody")).status_code == 404


@pytest.mark.parametrize(
    "query", ["start_time=yesterday", "start_time=1.5", "end_time=2026-01-01T00:00:00", "outcome=perhaps"]
)
async def test_filters_that_cannot_be_are_named(light: httpx.AsyncClient, query: str) -> None:
    reply = await light.get(f"/manage/audit?{query}")

    assert (reply.status_code, list(reply.json()["fields"])) == (422, [query.partition("=")[0]])
