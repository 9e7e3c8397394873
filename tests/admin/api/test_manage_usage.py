"""/manage/usage as its callers see it, on both databases."""

from typing import Any

import httpx
import pytest

from sql.repositories import requests
from sql.stores import Stores
from tests.admin.acts.acting import NOON_MS
from tests.support import rows

HOUR_MS = 3_600_000
NOON, EVENING = "2026-09-21T14:13:20Z", "2026-09-21T23:00:00Z"


@pytest.fixture
async def recorded(stores: Stores) -> Stores:
    some = [
        rows.request(accepted_at_ms=NOON_MS, model="gpt-5", cost_microusd=40, end_user="ü/'?"),
        rows.request(accepted_at_ms=NOON_MS, model="gpt-5", cost_microusd=None, project_id="p2", status=500),
        rows.request(accepted_at_ms=NOON_MS - 2 * HOUR_MS, model="claude", cost_microusd=2),
    ]
    await requests.insert_many(stores.records, some, [])
    return stores


async def usage(manage: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    reply = await manage.get("/manage/usage", params=params)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()
    return found


async def test_usage_is_told_per_period_and_name_oldest_first(recorded: Stores, manage: httpx.AsyncClient) -> None:
    found = await usage(manage, by="model", every="hour", since="2026-09-21T00:00:00Z", until=EVENING)

    assert [(one["start"], one["name"], one["requests"], one["errors"], one["cost_microusd"]) for one in found] == [
        ("2026-09-21T12:00:00.000Z", "claude", 1, 0, 2),
        ("2026-09-21T14:00:00.000Z", "gpt-5", 2, 1, 40),
    ]
    assert [(one["input_tokens"], one["reasoning_tokens"], one["cost_unknown"]) for one in found] == [
        (10, 2, 0),
        (20, 4, 1),
    ]


async def test_usage_is_of_those_who_are_asked_for(recorded: Stores, manage: httpx.AsyncClient) -> None:
    async def requests_of(**params: str) -> dict[str, int]:
        found = await usage(manage, since="2026-09-20T00:00:00Z", until=EVENING, **params)
        return {one["name"]: one["requests"] for one in found}

    assert await requests_of() == {"p1": 2, "p2": 1}
    assert await requests_of(by="end_user") == {"": 2, "ü/'?": 1}
    assert await requests_of(by="token", project_id="p2") == {"t1": 1}
    assert await requests_of(by="provider", model="claude") == {"openai": 1}
    assert await requests_of(by="model", end_user="ü/'?") == {"gpt-5": 1}
    assert await requests_of(token_id="nobody") == {}


async def test_without_a_window_it_is_the_last_ones(recorded: Stores, manage: httpx.AsyncClient) -> None:
    assert [one["name"] for one in await usage(manage, every="minute", by="model")] == ["gpt-5"]
    assert [one["name"] for one in await usage(manage, every="hour", by="model")] == ["claude", "gpt-5"]
    assert [one["requests"] for one in await usage(manage, every="day")] == [2, 1]


async def test_following_the_link_gives_every_line_once(recorded: Stores, manage: httpx.AsyncClient) -> None:
    url, names = "/manage/usage?by=end_user&every=hour&limit=1", []
    while url:
        page = await manage.get(url)
        names += [(one["start"][11:13], one["name"]) for one in page.json()]
        url = page.links.get("next", {}).get("url", "")

    assert names == [("12", ""), ("14", ""), ("14", "ü/'?")]


async def test_a_page_looks_at_so_many_periods_and_the_link_goes_on(stores: Stores, manage: httpx.AsyncClient) -> None:
    days = [rows.request(accepted_at_ms=NOON_MS - ago * 24 * HOUR_MS) for ago in (3000, 2, 0)]
    await requests.insert_many(stores.records, days, [])
    url, pages = "/manage/usage?every=minute&since=2000-01-01T00:00:00Z", []
    while url:
        page = await manage.get(url)
        pages.append([one["start"][:10] for one in page.json()])
        url = page.links.get("next", {}).get("url", "")

    assert pages == [["2018-07-05"], ["2026-09-19"], ["2026-09-21"]]
