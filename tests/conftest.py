"""Fixtures of all tests come from tests/support/*.py; each module that has some is listed here."""

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.real_servers",
    "tests.support.stores",
    "tests.support.upstream",
    "tests.support.proxy",
    "tests.support.redis_server",
]

# Machines are shared and slow at times, so time says nothing about a property.
settings.register_profile("fast", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=1000)
settings.load_profile("fast")
