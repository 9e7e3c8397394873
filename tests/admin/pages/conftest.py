from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.clock import SystemClock
from tests.admin.acts.acting import StillClock
from tests.admin.pages.site import Site, open_site, site_settings


@pytest.fixture
def clock() -> StillClock:
    """Stands at the time of the test's beginning, so that two looks at a page see the same times."""
    return StillClock(SystemClock().now_ms())


@pytest.fixture
async def site(tmp_path: Path, clock: StillClock) -> AsyncIterator[Site]:
    """An admin that nobody is signed in to."""
    opened = await open_site(site_settings(tmp_path), clock)
    yield opened
    await opened.close()


@pytest.fixture
async def signed_in(site: Site) -> Site:
    await site.sign_in()
    return site
