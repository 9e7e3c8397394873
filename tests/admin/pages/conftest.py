from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.admin.pages.site import Site, open_site, site_settings


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """An admin nobody is signed in to."""
    opened = await open_site(site_settings(tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def signed_in(site: Site) -> Site:
    await site.sign_in()
    return site
