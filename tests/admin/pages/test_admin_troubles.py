"""What is seen while something is away or wrong, and how this process tells of its own health."""

import asyncio
import logging
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette

from admin.health import Health
from admin.main import build_app, make_parts
from config.clock import SystemClock
from config.errors import ConfigError
from config.secret import Secret
from sql import migrate
from tests.admin.acts.acting import StillClock
from tests.admin.pages.site import ORIGIN, PARTIAL, TOKEN, Site, site_settings

NO_DATABASE = Secret("postgresql://nobody@127.0.0.1:1/none")


@pytest.fixture
def away(tmp_path: Path) -> Site:
    """An admin whose database is not there."""
    settings = site_settings(tmp_path, db_driver="postgres", database_url=NO_DATABASE, database_timeout_ms=300)
    return Site(make_parts(settings, SystemClock()))


async def test_without_a_database_pages_are_a_friendly_503(away: Site) -> None:
    reply = await away.client.get("/admin/projects", headers={"Cookie": "llmproxy_session=x"})

    assert reply.status_code == 503
    assert "The database cannot be reached" in reply.text
    assert reply.headers["x-request-id"] in reply.text
    assert "127.0.0.1:1" not in reply.text


async def test_without_a_database_nobody_is_signed_in(away: Site) -> None:
    reply = await away.client.post("/admin/sign-in", data={"token": TOKEN}, headers={"Origin": ORIGIN})

    assert reply.status_code == 503


async def test_without_a_database_the_sign_in_form_and_the_styles_are_there(away: Site) -> None:
    assert (await away.get("/admin/sign-in")).status_code == 200
    assert (await away.get(away.parts.assets.url("admin.css"))).status_code == 200


async def test_under_htmx_trouble_is_a_toast_and_leaves_the_page_alone(away: Site) -> None:
    reply = await away.client.get("/admin/projects", headers={**PARTIAL, "Cookie": "llmproxy_session=x"})

    assert (reply.status_code, reply.text) == (503, "")
    assert reply.headers["hx-reswap"] == "none"
    assert reply.headers["x-request-id"] in reply.headers["hx-trigger"]


async def test_an_empty_database_says_which_command_helps(tmp_path: Path) -> None:
    site = Site(make_parts(site_settings(tmp_path), SystemClock()))

    reply = await site.client.get("/admin/", headers={"Cookie": "llmproxy_session=x"})

    assert reply.status_code == 503
    assert "llm-proxy migrate up" in reply.text
    await site.close()


async def test_a_mistake_of_ours_is_a_500_without_its_details(
    signed_in: Site, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Site(replace(signed_in.parts, providers=None))
    await broken.sign_in()

    with caplog.at_level(logging.ERROR):
        reply = await broken.get("/admin/projects/new")

    assert reply.status_code == 500
    assert reply.headers["x-request-id"] in reply.text
    assert "Traceback" not in reply.text
    assert "NoneType" not in reply.text
    assert [record.fields["request_id"] for record in caplog.records] == [reply.headers["x-request-id"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/admin/nothing", 404), ("DELETE", "/admin/", 405)])
async def test_what_is_not_there_is_said_with_a_request_id(
    signed_in: Site, method: str, path: str, status: int
) -> None:
    reply = await signed_in.client.request(method, path)

    assert reply.status_code == status
    assert reply.headers["x-request-id"] in reply.text
    assert 'aria-label="Sections"' in reply.text


async def test_a_stranger_sees_no_menu_on_an_error_page(site: Site) -> None:
    reply = await site.get("/admin/nothing")

    assert reply.status_code == 404
    assert 'aria-label="Sections"' not in reply.text


async def test_the_root_leads_to_the_overview(site: Site) -> None:
    assert (await site.get("/")).headers["location"] == "/admin/"
    assert (await site.get("/admin")).headers["location"].endswith("/admin/")


async def test_health_of_a_whole_admin(site: Site) -> None:
    live, ready, health = [await site.get(path) for path in ("/live", "/ready", "/health")]

    assert (live.status_code, ready.status_code, health.status_code) == (200, 200, 200)
    assert ready.json() == {"status": "ready"}
    assert health.json()["status"] == "ok"
    assert health.json()["dependencies"] == {"database": "ok"}
    assert health.json()["version"]


async def test_health_without_a_database(away: Site) -> None:
    live, ready, health = [await away.get(path) for path in ("/live", "/ready", "/health")]

    assert (live.status_code, ready.status_code, health.status_code) == (200, 503, 200)
    assert health.json()["status"] == "degraded"
    assert "nobody" not in health.text


async def test_ready_asks_the_database_once_a_second_at_most(tmp_path: Path, clock: StillClock) -> None:
    site = Site(make_parts(site_settings(tmp_path), clock))
    before = (await site.get("/ready")).status_code
    await migrate.up(site.stores)
    meanwhile = (await site.get("/ready")).status_code
    clock.pass_ms(1000)

    assert [before, meanwhile, (await site.get("/ready")).status_code] == [503, 503, 200]
    await site.close()


async def test_a_draining_admin_is_alive_but_not_ready(site: Site) -> None:
    draining = asyncio.Event()
    draining.set()
    health = Starlette(routes=Health(site.parts, draining).routes())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=health), base_url=ORIGIN) as client:
        assert (await client.get("/live")).status_code == 200
        assert (await client.get("/ready")).json() == {"status": "unavailable", "reason": "draining"}


def test_a_trusted_proxy_that_is_no_network_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES"):
        make_parts(site_settings(tmp_path, trusted_proxies=("everyone",)), SystemClock())


def test_the_app_is_made_without_touching_a_disk(tmp_path: Path) -> None:
    build_app(make_parts(site_settings(tmp_path / "not-there-yet"), SystemClock()))

    assert not (tmp_path / "not-there-yet").exists()
