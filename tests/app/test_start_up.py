"""What each process imports before it can serve: nothing heavy that it does not need, and the worker not much in all.

A machine's speed is no part of it. The worker's processor time for its imports is compared with that of a fixed part of
the standard library in the same interpreter, and the least of three tries counts.
"""

import subprocess
import sys
from typing import Final

import pytest
from msgspec import Struct

from tests.support.proxy import ROOT

TRIES: Final = 3
MOST: Final = 4.0
"""Of the worker, against the yardstick: about twice today's."""
YARDSTICK: Final = (
    "asyncio, ssl, sqlite3, logging.config, http.server, email.mime.text, xml.dom.minidom, unittest.mock, tarfile, "
    "concurrent.futures.process, multiprocessing.pool, argparse, decimal, zipfile, ctypes, difflib, dataclasses, "
    "doctest, ipaddress, urllib.request, xmlrpc.client, csv, uuid, imaplib, smtplib, ftplib, configparser, optparse, "
    "plistlib, lzma, bz2, statistics, fractions, pdb, cProfile, timeit, wsgiref.simple_server"
)
COMMAND_LINE: Final = {"click", "rich", "typer"}
DRIVERS: Final = {"psycopg", "redis", "httpx"}
BACKENDS: Final = {"obstore", "opentelemetry", "google.protobuf"}
TESTS: Final = {"hypothesis", "pytest", "unittest"}
NO_PROCESS: Final = COMMAND_LINE | DRIVERS | BACKENDS | TESTS
SERVING: Final = {"granian", "starlette", "uvloop", "jinja2"}


class Process(Struct, frozen=True):
    imports: str
    """What it has when it begins to work, with SQLite and the embedded bus."""
    never: set[str]
    """What it must not have then."""


PROCESSES: Final = {
    "server": Process(
        "app.cli.commands, app.cli.server, app.cli.checks, app.cli.schema, app.cli.plan",
        DRIVERS | BACKENDS | TESTS | SERVING | {"aiohttp", "rich", "zstandard"},
    ),
    "supervisor": Process(
        "app.cli.processes, app.cli.plan, app.lock, app.supervisor",
        NO_PROCESS | SERVING | {"aiohttp", "asyncio", "cryptography", "sqlite3", "yaml", "zstandard"},
    ),
    "worker": Process(
        "app.cli.processes, app.cli.proxy, app.main, admin.api.routes",
        NO_PROCESS | {"aiohttp", "jinja2", "admin.pages"},
    ),
    "keeper": Process("app.cli.processes, app.cli.keeper", NO_PROCESS | SERVING | {"aiohttp"}),
    "admin": Process("app.cli.processes, app.cli.admin_app", NO_PROCESS | {"aiohttp"}),
}


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=600
    )


def times(imports: str) -> dict[str, int]:
    """Microseconds of each module by itself."""
    lines = run(f"import {imports}", "-X", "importtime").stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    return {name.strip(): int(own) for own, _, name in rows[1:]}


def ten_slowest(found: dict[str, int]) -> str:
    slowest = sorted(found.items(), key=lambda row: -row[1])[:10]
    return "the ten slowest imports (ms): " + ", ".join(f"{name} {us / 1000:.1f}" for name, us in slowest)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_does_not_import_what_it_does_not_need(name: str) -> None:
    process = PROCESSES[name]

    found = times(process.imports)

    assert not process.never & found.keys(), ten_slowest(found)


@pytest.mark.slow
def test_a_worker_imports_little_beside_the_standard_library() -> None:
    imports = PROCESSES["worker"].imports
    code = f"""
import time
began = time.process_time()
import {YARDSTICK}
middle = time.process_time()
import {imports}
print((time.process_time() - middle) / (middle - began))
"""

    least = min(float(run(code).stdout) for _ in range(TRIES))

    assert least < MOST, f"{least:.1f} times as long; {ten_slowest(times(imports))}"
