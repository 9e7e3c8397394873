"""Fixtures of all tests come from tests/support/*.py; each module that has some is listed here."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import httpx._transports.default
import httpx2._transports.default
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.real_servers",
    "tests.support.stores",
    "tests.support.upstream",
    "tests.support.proxy",
    "tests.support.redis_server",
    "tests.support.limits",
]

# Machines are shared and slow at times, so time says nothing about a property. More: --hypothesis-profile=thorough.
settings.register_profile("fast", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=1000)
settings.load_profile("fast")

# Each client would read the system's certificates, 46 ms of processor time, and here there are thousands of clients.
for library in (httpx._transports.default, httpx2._transports.default):
    vars(library)["create_ssl_context"] = cache(vars(library)["create_ssl_context"])

_OF_A_MODULE: Final = {"shared_proxy", "served", "locked", "redis_servers", "servers"}
_OF_ALL: Final = {"running_demo", "moto"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Tests that share a server run in one process: else it would be started in each."""
    for item in items:
        if isinstance(item, pytest.Function) and not item.get_closest_marker("xdist_group"):
            wanted = set(item.fixturenames)
            of_its_module = {item.module.__name__} if wanted & _OF_A_MODULE else set[str]()
            for name in wanted & _OF_ALL or of_its_module:
                item.add_marker(pytest.mark.xdist_group(name))
