"""The first page: figures, chart, backends, and what it says when a part is away."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from admin.pages.request_views import request_view
from bus.inspection import serve_inspection
from config.paths import keeper_socket, metrics_dir
from sql.repositories import requests
from tests.admin.acts.acting import StillClock
from tests.admin.pages.site import Site, TellingBus, project, request_row, token


@pytest.fixture
async def keeper(signed_in: Site) -> AsyncIterator[None]:
    async with serve_inspection(keeper_socket(signed_in.parts.settings), TellingBus()):  # type: ignore[arg-type]
        yield


async def put(site: Site, *numbers: int, **changes: Any) -> None:
    await requests.insert_many(site.stores.records, [request_row(n, **changes) for n in numbers], [])


def tiles(page: str) -> dict[str, str]:
    found = re.findall(r'<div class="tile[^"]*"><dt>(.*?)</dt><dd>(.*?)</dd>', page, re.DOTALL)
    return {re.sub("<[^>]+>", "", name).strip(): re.sub("<[^>]+>", "", value).strip() for name, value in found}


async def test_it_counts_what_passed_in_the_window(signed_in: Site) -> None:
    await put(signed_in, 1, 2, 3)
    await put(signed_in, 4, status=502)
    await put(signed_in, 7200, 7201)

    hour = tiles((await signed_in.get("/admin/")).text)
    day = tiles((await signed_in.get("/admin/?window=24h")).text)

    assert hour["Requests"] == "4"
    assert hour["Errors"] == "1 25 %"
    assert day["Requests"] == "6"
    assert hour["Prompt tokens"] == "7\u202f344"
    assert hour["Median p50"] == "1.2 s"
    assert hour["Cost"] == "unknown"


async def test_a_known_cost_is_summed(signed_in: Site) -> None:
    await put(signed_in, 1, 2, cost_microusd=1_500_000)
    await put(signed_in, 3, cost_microusd=None)

    assert tiles((await signed_in.get("/admin/")).text)["Cost"] == "$3.00"


async def test_the_chart_is_drawn_and_told_as_a_table(signed_in: Site) -> None:
    await put(signed_in, 10, 20, status=200)
    await put(signed_in, 300, status=500)

    page = (await signed_in.get("/admin/")).text

    table = page[page.index('id="chart-table"') :]
    assert page.count('<rect class="bar"') == table[: table.index("</table>")].count("<tr><td>")
    assert page.count('<rect class="bar-errors"') == 1


async def test_the_newest_requests_are_links(signed_in: Site) -> None:
    exchange = request_row(2)
    await requests.insert_many(signed_in.stores.records, [exchange], [])

    assert f'href="/admin/requests/{exchange.event_id}"' in (await signed_in.get("/admin/")).text


async def test_it_renews_itself_by_script_until_it_is_paused(signed_in: Site) -> None:
    running = (await signed_in.get("/admin/?window=24h")).text
    paused = (await signed_in.get("/admin/?window=24h&updates=off")).text

    assert 'hx-get="/admin/?window=24h" hx-trigger="every 10s"' in running
    assert "hx-trigger" not in paused
    assert 'href="/admin/?window=7d&amp;updates=off"' in paused


async def test_the_backends_are_told_of_in_short(signed_in: Site, keeper: None) -> None:
    page = (await signed_in.get("/admin/")).text

    assert "database is behind: 12\u202f348 events to come, the oldest for 2 minutes." in page
    assert "2 dead letters of database" in page


async def test_without_a_keeper_the_page_says_so_and_the_rest_works(signed_in: Site) -> None:
    await put(signed_in, 1)

    page = await signed_in.get("/admin/")

    assert page.status_code == 200
    assert "The event bus: not reachable." in page.text
    assert tiles(page.text)["Requests"] == "1"


async def test_without_the_records_the_page_says_so_and_the_rest_works(
    signed_in: Site, keeper: None, tmp_path: Path
) -> None:
    away = type(signed_in.stores.records)(tmp_path / "no" / "such" / "folder.db", timeout_ms=500)  # type: ignore[call-arg]
    site = Site(replace(signed_in.parts, stores=replace(signed_in.stores, records=away)))
    await site.sign_in()

    page = await site.get("/admin/")

    assert page.status_code == 200
    assert "The records: not reachable." in page.text
    assert "2 dead letters of database" in page.text


async def test_the_first_steps_go_as_they_are_done(signed_in: Site) -> None:
    async def done() -> int | None:
        page = (await signed_in.get("/admin/")).text
        return page.count('<li class="done">') if "Three steps" in page else None

    counts = [await done()]
    row = await project(signed_in.stores)
    counts.append(await done())
    await token(signed_in.stores, row.id)
    counts.append(await done())
    await put(signed_in, 1)
    counts.append(await done())

    assert counts == [0, 1, 2, None]


@pytest.mark.parametrize(
    ("changes", "tone"),
    [
        ({}, "good"),
        ({"status": 404}, "warn"),
        ({"cut": "client"}, "warn"),
        ({"status": 503}, "bad"),
        ({"status": 0}, "bad"),
        ({"cut": "upstream"}, "bad"),
        ({"cut": "interrupted", "status": 0}, "bad"),
    ],
)
def test_the_outcome_has_a_tone(changes: dict[str, Any], tone: str, clock: StillClock) -> None:
    assert request_view(request_row(**changes), {}).tone == tone


async def test_it_says_when_workers_keep_to_their_share_of_the_limits(signed_in: Site) -> None:
    folder = metrics_dir(signed_in.parts.settings)
    folder.mkdir(parents=True)
    for number, away in enumerate((1.0, 0.0)):
        (folder / f"worker{number}.json").write_text(
            f'{{"counters": {{}}, "gauges": {{"llm_proxy_limits_away": {away}}}}}'
        )
    (folder / "keeper.json").write_text('{"gauges": {}}')
    (folder / "torn.json").write_text('{"gau')

    assert "1 of 2 workers keep to their share of each limit" in (await signed_in.get("/admin/")).text

    (folder / "worker0.json").unlink()
    assert "keep to their share" not in (await signed_in.get("/admin/")).text
