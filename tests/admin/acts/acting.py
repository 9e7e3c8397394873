"""What tests of acts and of /manage share: a clock that stands still, somebody who acts, a database that is away."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from admin.acts.actor import Actor
from config.secret import Secret
from config.settings import Settings
from sql.stores import Stores, open_stores

NOON_MS = 1_790_000_000_000
ACTOR = Actor(
    name="management_token",
    client_ip="192.0.2.7",
    user_agent="tests/1",
    request_id="request-1",
    method="POST",
    path="/manage/projects",
)


class StillClock:
    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ns(self) -> int:
        return self.ms * 1_000_000

    def pass_ms(self, ms: int) -> None:
        self.ms += ms


@pytest.fixture
async def away_stores(tmp_path: Path) -> AsyncIterator[Stores]:
    """A PostgreSQL that refuses connections."""
    with socket.socket() as held:  # bound, but not listening: nobody else gets the port
        held.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody@127.0.0.1:{held.getsockname()[1]}/nothing"
        settings = Settings(
            data_dir=str(tmp_path), db_driver="postgres", database_url=Secret(url), database_timeout_ms=500
        )
        stores = open_stores(settings)
        yield stores
        await stores.close()
