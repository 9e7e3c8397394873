"""A log on a real file, with one group."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.sqlite_log import SqliteLog


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "bus.db")
    await opened.ensure_groups(["scripted"])
    yield opened
    await opened.close()
