"""Lists come in pages that neither lose nor repeat a row, by cursor or by the older page number."""

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin.api import paging
from tests.admin.acts.acting import StillClock

LISTS = ["/manage/projects", "/manage/tokens", "/manage/audit", "/manage/requests"]


async def fill(manage: httpx.AsyncClient, clock: StillClock, count: int) -> None:
    project = (await manage.post("/manage/projects", json={"name": "p00"})).json()["id"]
    for n in range(1, count):
        await manage.post("/manage/projects", json={"name": f"p{n:02}"})
        body = {"project_id": project, "duration_minutes": 5}
        await manage.post("/manage/tokens", json=body)
        clock.pass_ms(n % 2)  # some rows are of the same millisecond


def ids(reply: httpx.Response) -> list[str]:
    body = reply.json()
    return [row["id"] for row in (body["events"] if isinstance(body, dict) else body)]


@pytest.mark.parametrize("path", ["/manage/projects", "/manage/tokens", "/manage/audit"])
async def test_following_the_link_gives_every_row_once(manage: httpx.AsyncClient, clock: StillClock, path: str) -> None:
    await fill(manage, clock, 8)
    everything = ids(await manage.get(path))
    seen: list[str] = []
    url: str | None = f"{path}?limit=3"
    while url:
        reply = await manage.get(url)
        seen += ids(reply)
        assert len(ids(reply)) <= 3
        assert ("next" in reply.links) == ("x-next-cursor" in reply.headers)
        url = reply.links.get("next", {}).get("url")

    assert seen == everything


@pytest.mark.parametrize("path", ["/manage/projects", "/manage/tokens", "/manage/audit"])
async def test_page_numbers_still_work(manage: httpx.AsyncClient, clock: StillClock, path: str) -> None:
    await fill(manage, clock, 5)
    everything = ids(await manage.get(path))

    second = await manage.get(path, params={"page": 2, "page_size": 2})
    beyond = await manage.get(path, params={"page": 99, "page_size": 2})

    assert ids(second) == everything[2:4]
    assert ids(beyond) == []


async def test_the_link_keeps_the_other_filters(manage: httpx.AsyncClient, clock: StillClock) -> None:
    await fill(manage, clock, 4)

    reply = await manage.get("/manage/projects", params={"search": "p&0", "limit": 1})
    narrowed = await manage.get("/manage/projects", params={"search": "p0", "limit": 1})

    assert reply.links == {}
    assert "search=p0&limit=1&cursor=" in narrowed.links["next"]["url"]


async def test_audit_says_where_in_the_list_one_is(manage: httpx.AsyncClient, clock: StillClock) -> None:
    await fill(manage, clock, 3)

    pagination = (await manage.get("/manage/audit", params={"page": 2, "page_size": 2})).json()["pagination"]

    assert pagination.pop("next_cursor")
    assert pagination == {
        "page": 2,
        "page_size": 2,
        "total_count": 5,
        "total_pages": 3,
        "has_next": True,
        "has_prev": True,
    }


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=501", "limit=x", "cursor=", "cursor=xyz", "cursor=%00", "nonsense=1"]
)
async def test_pages_that_cannot_be_are_refused(light: httpx.AsyncClient, path: str, query: str) -> None:
    reply = await light.get(f"{path}?{query}")

    assert reply.status_code == 422
    assert list(reply.json()["fields"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("path", LISTS[:3])
@pytest.mark.parametrize("query", ["page_size=0", "page_size=-1", "page=0", "page=99999999999999999999"])
async def test_page_numbers_that_cannot_be_are_refused(light: httpx.AsyncClient, path: str, query: str) -> None:
    assert (await light.get(f"{path}?{query}")).status_code == 422


async def test_a_large_page_size_is_cut_as_it_always_was(light: httpx.AsyncClient) -> None:
    reply = await light.get("/manage/audit", params={"page_size": 5000})

    assert (reply.status_code, reply.json()["pagination"]["page_size"]) == (200, 500)


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), at=st.integers(0, 10**14))
def test_a_cursor_comes_back_as_it_was(name: str, at: int) -> None:
    by_name, by_number = paging.name_cursor(name, "row-1.x"), paging.number_cursor(at, "row-1.x")

    assert paging.read_name_cursor(msgspec.convert(by_name, paging.NameCursor)) == (name, "row-1.x")
    assert paging.read_number_cursor(msgspec.convert(by_number, paging.NumberCursor)) == (at, "row-1.x")


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=st.from_regex(r"\A(([0-9a-f]{2}){1,99}|[0-9]{1,15})\.[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"))
async def test_every_well_formed_cursor_is_a_position(light: httpx.AsyncClient, cursor: str) -> None:
    codes = {(await light.get(path, params={"cursor": cursor})).status_code for path in LISTS}

    assert codes <= {200, 422}
    assert 200 in codes
