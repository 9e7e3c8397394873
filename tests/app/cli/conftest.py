"""One demo server without traffic for all tests of commands that talk to one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.llm_proxy import Demo, demo


@pytest.fixture(scope="session")
def running_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("demo"), "--no-demo") as server:
        yield server


@pytest.fixture
def manage_environment(running_demo: Demo) -> dict[str, str]:
    """What `llm-proxy manage` needs to reach it."""
    return {
        "LISTEN_ADDR": running_demo.proxy.removeprefix("http://"),
        "MANAGEMENT_TOKEN": running_demo.management_token,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Empty: no .env, no data."""
    return tmp_path
