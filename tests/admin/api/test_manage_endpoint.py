"""What every path of /manage has in common: methods, bodies, ids of requests, headers."""

import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.repositories import audit, projects
from sql.rows import AuditFilter
from sql.stores import Stores


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"{}x", b"\xff", b'{"name":"\xff"}', b"[" * 500_000, b"NaN"])
async def test_what_is_not_json_is_400(light: httpx.AsyncClient, body: bytes) -> None:
    reply = await light.post("/manage/projects", content=body)

    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
async def test_json_that_is_no_object_is_422(light: httpx.AsyncClient, body: bytes) -> None:
    assert (await light.post("/manage/projects", content=body)).status_code == 422


async def test_a_wrong_value_before_broken_json_is_still_broken_json(light: httpx.AsyncClient) -> None:
    assert (await light.post("/manage/projects", content=b'{"name": 5, ')).status_code == 400


async def test_the_content_type_is_not_looked_at(light: httpx.AsyncClient) -> None:
    reply = await light.post("/manage/projects", content=b'{"name":"x"}', headers={"Content-Type": "text/plain"})

    assert reply.status_code == 201


async def test_bodies_are_bounded_whether_their_length_is_told_or_not(light: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 65_536

    told = await light.post("/manage/projects", content=b" " * (1024 * 1024 + 1))
    untold = await light.post("/manage/projects", content=pieces())

    assert (told.status_code, untold.status_code) == (413, 413)
    assert told.json()["code"] == "body_too_large"


async def test_a_method_that_is_not_there_is_405_with_those_that_are(light: httpx.AsyncClient) -> None:
    reply = await light.put("/manage/projects", json={})

    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


async def test_options_names_the_methods(light: httpx.AsyncClient) -> None:
    reply = await light.options("/manage/tokens/x")

    assert (reply.status_code, reply.content) == (204, b"")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}


async def test_head_is_get_without_the_body(light: httpx.AsyncClient) -> None:
    got, head = await light.get("/manage/projects"), await light.head("/manage/projects")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/manage",
            "/manage/",
            "/manage/nothing",
            "/manage/projects/",
            "/manage/projects/a/b",
            "/manage/projects/%00",
        ),
        *("/manage/tokens/..%2f..", "/manage/tokens/" + "x" * 65, "/manage/tokens/%ff", "/manage/requests/'--"),
    ],
)
async def test_what_is_not_there_is_404_in_json(light: httpx.AsyncClient, path: str) -> None:
    reply = await light.get(path)

    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert reply.headers["content-type"] == "application/json"


async def test_a_parameter_given_twice_or_unknown_is_named(light: httpx.AsyncClient) -> None:
    twice = await light.get("/manage/tokens?project_id=a&project_id=b")
    unknown = await light.get("/manage/tokens?activ=true")
    none_here = await light.get("/manage/projects/x?verbose=1")

    assert [list(reply.json()["fields"]) for reply in (twice, unknown, none_here)] == [
        ["project_id"],
        ["activ"],
        ["verbose"],
    ]


async def test_null_is_no_way_to_ask_for_everything(light: httpx.AsyncClient) -> None:
    reply = await light.get("/manage/tokens?is_active=null")

    assert (reply.status_code, list(reply.json()["fields"])) == (422, ["is_active"])


DATABASE_EDGES = ["/manage/projects?search=%00", "/manage/projects?cursor=00.x", "/manage/tokens?project_id=null"]
DATABASE_EDGES += ["/manage/audit?search=%00&path=%00", "/manage/requests?request_id=%00", "/manage/requests?model=%F3"]


@pytest.mark.parametrize("url", DATABASE_EDGES)
async def test_characters_that_a_database_refuses_find_nothing(manage: httpx.AsyncClient, url: str) -> None:
    reply = await manage.get(url)

    assert reply.status_code == 200


async def test_a_whole_number_may_be_written_with_a_point(light: httpx.AsyncClient) -> None:
    project = (await light.post("/manage/projects", json={"name": "p"})).json()

    body = {"project_id": project["id"], "duration_minutes": 60.0, "max_requests": 1e3}
    reply = await light.post("/manage/tokens", json=body)

    assert (reply.status_code, reply.json()["max_requests"]) == (201, 1000)


@pytest.mark.parametrize(
    ("header", "value", "is_kept"),
    [
        ("x-request-id", "abc-DEF_123.x", True),
        ("x-correlation-id", "abc-DEF_123.x", True),
        ("x-request-id", "short", False),
        ("x-request-id", "with space in it", False),
        ("x-request-id", "x" * 129, False),
    ],
)
async def test_request_ids_are_taken_over_when_well_formed(
    light: httpx.AsyncClient, sqlite_stores: Stores, header: str, value: str, is_kept: bool
) -> None:
    reply = await light.post("/manage/projects", json={"name": "x"}, headers={header: value})

    [row] = await audit.list_page(sqlite_stores.main, AuditFilter(action="project.create"), limit=2)
    assert row.request_id == reply.headers["x-request-id"] == reply.headers["x-llm-proxy-request-id"]
    assert (row.request_id == value) is is_kept
    assert len(row.request_id or "") >= 8


async def test_every_answer_says_that_it_is_not_to_be_kept(light: httpx.AsyncClient) -> None:
    for path in ("/manage/projects", "/manage/nothing"):
        reply = await light.get(path)

        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"


async def test_our_own_fault_is_told_without_its_inside(
    light: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the inside of it")

    monkeypatch.setattr(projects, "list_page", broken)

    with caplog.at_level(logging.ERROR):
        reply = await light.get("/manage/projects")

    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
    assert "the inside of it" not in reply.text
    assert "the inside of it" in caplog.text
    assert reply.headers["x-request-id"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = ["name", "api_key", "is_active", "recording", "revoke_tokens", "provider", "key", "weight"]
fields += ["project_id", "duration_minutes", "max_requests", "expires_at"]
named = st.dictionaries(st.sampled_from(fields), json_values, max_size=4)
writes = st.sampled_from(
    """POST /manage/projects
    PATCH /manage/projects/x
    POST /manage/tokens
    PATCH /manage/tokens/x
    POST /manage/projects/x/api_keys
    PATCH /manage/projects/x/api_keys/y""".splitlines()
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(write=writes, body=named | json_values)
async def test_no_json_whatever_is_our_fault(light: httpx.AsyncClient, write: str, body: object) -> None:
    method, path = write.split()

    reply = await light.request(method, path, content=json.dumps(body).encode())

    assert reply.status_code in (201, 400, 404, 409, 422), reply.text
