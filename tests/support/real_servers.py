"""Tells at the end of a run which servers were real and where they came from."""

from typing import Any

import pytest

_WORKERS_KEY = "real_servers"  # under which a pytest-xdist worker tells the process that prints
_seen: list[str] = []


def note(server: str) -> None:
    """`server` in words: what it is, its version, its origin."""
    if server not in _seen:
        _seen.append(server)


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told[_WORKERS_KEY] = list(_seen)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for server in getattr(node, "workeroutput", {}).get(_WORKERS_KEY, []):
        note(server)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"real servers: {', '.join(_seen) or 'none was needed'}")
