import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct
from playwright.sync_api import Browser, Page

from bus.inspection import BackendState
from bus.sqlite_log import SqliteLog
from config.clock import SystemClock
from config.load import as_environment
from config.settings import Settings
from tests.admin.pages.bus_stage import bury, deliver, keeping
from tests.admin.pages.site import TOKEN, open_site, seed, site_settings
from tests.support.browser import AdminProcess, Watch, browser, new_context

__all__ = ["browser"]


class Admin(Struct, frozen=True):
    """A running admin with something in it; `ids` of a project, a token and a request."""

    url: str
    ids: dict[str, str]
    state: Path
    """Cookies of a signed-in browser."""


@pytest.fixture(scope="module")
def seeded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AdminProcess, dict[str, str], Path]]:
    """A module says with TRAFFIC how many requests there were."""
    folder = tmp_path_factory.mktemp("admin")
    settings = site_settings(folder)
    ids = asyncio.run(_filled(settings, request.module.TRAFFIC))
    with keeping(settings, 90, _bury, states=_states):
        process = AdminProcess(as_environment(settings), folder / "admin.log")
        yield process, {**ids, "letter": "60"}, folder
        assert process.stop() == 0, process.log.read_text()


@pytest.fixture(scope="module")
def admin(seeded: tuple[AdminProcess, dict[str, str], Path], browser: Browser) -> Admin:
    """Asked for after `seeded`, which needs a loop of its own, and none may run by then."""
    process, ids, folder = seeded
    with new_context(browser) as context:
        page = context.new_page()
        page.goto(f"{process.url}/admin/sign-in")
        page.get_by_label("Management token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview").wait_for()
        context.storage_state(path=folder / "state.json")
    return Admin(process.url, ids, folder / "state.json")


@pytest.fixture
def page(admin: Admin, browser: Browser) -> Iterator[Page]:
    """A signed-in page at the desktop. The test fails when the page complains, unless the test expects that."""
    with new_context(browser, storage_state=admin.state, base_url=admin.url) as context:
        opened = context.new_page()
        watch = Watch(opened)
        yield opened
        assert watch.complaints == []


async def _filled(settings: Settings, traffic: int) -> dict[str, str]:
    site = await open_site(settings, SystemClock())
    ids = await seed(site.stores, SystemClock(), traffic)
    await site.close()
    return ids


async def _bury(log: SqliteLog) -> None:
    """Letters with the ids 1 to 60."""
    await bury(log, "webhook", 56)
    await bury(log, "webhook", 4, "crash_loop", "handed out 5 times without a word")
    await deliver(log, "database", 90)


def _states() -> tuple[BackendState, ...]:
    """A backend that is well, and one that is away."""
    away = BackendState("webhook", "waiting", failures=31, error="connection refused", breaker="open")
    return BackendState("database", "delivering"), away
