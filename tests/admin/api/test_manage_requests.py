"""/manage/requests as its callers see it, on both databases."""

import base64

import httpx
import msgspec
import pytest

from sql.repositories import audit, requests
from sql.rows import AuditFilter, BodyRow, RequestRow
from sql.stores import Stores
from tests.admin.acts.acting import NOON_MS


def a_request(n: int, **given: object) -> RequestRow:
    required = {
        field.name: 0 if field.type is int else False if field.type is bool else ""
        for field in msgspec.structs.fields(RequestRow)
    }
    unknown = {name: None for name in required if name.endswith(("_tokens", "_us", "_microusd"))}
    fields = {"event_id": f"event-{n}", "accepted_at_ms": NOON_MS + n * 1000, "status": 200, "method": "POST"}
    return RequestRow(**{**required, **unknown, **fields, **given})  # type: ignore[arg-type]


@pytest.fixture
async def recorded(stores: Stores) -> Stores:
    rows = [
        a_request(1, project_id="p1", token_id="t1", model="gpt-4o", provider="openai", request_id="req-one"),
        a_request(2, project_id="p1", status=404, code="endpoint_not_found", request_id="req-two"),
        a_request(3, project_id="p2", status=502, provider="anthropic", input_tokens=12, last_byte_us=1500),
    ]
    bodies = [
        BodyRow(
            event_id="event-1",
            side="request",
            data=b'{"a":"\xc3\xa4"}',
            content_type="application/json",
            content_encoding="",
            truncated=False,
        ),
        BodyRow(
            event_id="event-1",
            side="response",
            data=b"\x1f\x8b\x00",
            content_type="application/json",
            content_encoding="gzip",
            truncated=True,
        ),
    ]
    await requests.insert_many(stores.records, rows, bodies)
    return stores


async def ids(manage: httpx.AsyncClient, **params: str) -> list[str]:
    reply = await manage.get("/manage/requests", params=params)
    assert reply.status_code == 200, reply.text
    return [row["event_id"].removeprefix("event-") for row in reply.json()]


async def test_requests_are_listed_newest_first_and_filtered(recorded: Stores, manage: httpx.AsyncClient) -> None:
    assert await ids(manage) == ["3", "2", "1"]
    assert await ids(manage, project_id="p1") == ["2", "1"]
    assert await ids(manage, token_id="t1") == ["1"]
    assert await ids(manage, model="gpt-4o") == ["1"]
    assert await ids(manage, provider="anthropic") == ["3"]
    assert await ids(manage, status_class="4") == ["2"]
    assert await ids(manage, code="endpoint_not_found") == ["2"]
    assert await ids(manage, request_id="req-") == ["2", "1"]
    assert await ids(manage, start_time="2026-09-21T14:13:22Z") == ["3", "2"]
    assert await ids(manage, end_time="2026-09-21T14:13:22Z") == ["1"]


async def test_following_the_link_gives_every_request_once(recorded: Stores, manage: httpx.AsyncClient) -> None:
    first = await manage.get("/manage/requests", params={"limit": 2})
    second = await manage.get(first.links["next"]["url"])

    assert [row["event_id"] for row in first.json() + second.json()] == ["event-3", "event-2", "event-1"]
    assert second.links == {}


async def test_a_request_is_shown_without_its_bodies(recorded: Stores, manage: httpx.AsyncClient) -> None:
    shown = (await manage.get("/manage/requests/event-3")).json()

    assert (shown["status"], shown["input_tokens"], shown["output_tokens"]) == (502, 12, None)
    assert (shown["accepted_at"], shown["last_byte_us"]) == ("2026-09-21T14:13:23.000Z", 1500)
    assert shown["bodies"] is None
    assert await audit.count(recorded.main, AuditFilter()) == 0
    assert (await manage.get("/manage/requests/nobody")).status_code == 404


async def test_bodies_come_when_asked_for_and_that_is_audited(recorded: Stores, manage: httpx.AsyncClient) -> None:
    shown = (await manage.get("/manage/requests/event-1", params={"bodies": "1"})).json()

    asked, answered = shown["bodies"]
    assert (asked["side"], asked["text"], asked["truncated"]) == ("request", '{"a":"ä"}', False)
    assert (answered["side"], answered["text"], answered["truncated"]) == ("response", None, True)
    assert base64.b64decode(answered["data_base64"]) == b"\x1f\x8b\x00"
    [row] = await audit.list_page(recorded.main, AuditFilter(), limit=2)
    assert (row.action, row.object_id, row.project_id) == ("request.read_bodies", "event-1", "p1")


async def test_requests_cannot_be_changed(light: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await light.request(method, "/manage/requests/event-1")).status_code == 405
