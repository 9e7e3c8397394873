"""A real Chromium on a real admin process. Playwright's sync API, so these fixtures are for sync tests only.

A browser lives as long as its module: Playwright's loop counts as running in this thread until it is closed, and
no async test could run after it.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support import real_servers
from tests.support.waiting import eventually

expect.set_options(timeout=60_000)  # a deadline, met at once on a machine with nothing else to do

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGS = ["--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--font-render-hinting=none"]
_TELL_VIOLATIONS = """
addEventListener('securitypolicyviolation', e => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`))
"""
# Left by `_exit`: a thread of Granian that meets the interpreter while it is taken down aborts the process at times.
_SERVE = """
import asyncio, os, sys
from admin.main import create_app
from app.cli.in_process import serve_app
from config.addresses import Address
os._exit(asyncio.run(serve_app(create_app(), Address("127.0.0.1", int(sys.argv[1])))))
"""


def chromium() -> str:
    """The browser's program; the run fails without one, as it does without a database."""
    named = os.environ.get("CHROMIUM")
    found = named if named and Path(named).exists() else next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail("no Chromium: run tests/support/install_chromium.sh, or set CHROMIUM", pytrace=False)
    return found


class AdminProcess:
    """`create_app` under Granian, with settings from the environment, as it runs in production."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(self.port)],
                env={**kept, "ENV": os.devnull, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
                stdout=out,
                stderr=out,
            )
        self.log = log
        eventually(self._answers)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)

    def _answers(self) -> bool:
        assert self.process.poll() is None or self.log.read_text() == "", self.log.read_text()
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    with sync_playwright() as playwright:
        # As root there is no sandbox to be had.
        args = [*_ARGS, "--no-sandbox"] if os.geteuid() == 0 else _ARGS
        opened = playwright.chromium.launch(executable_path=program, args=args)
        real_servers.note(f"Chromium {opened.version} ({program})")
        yield opened
        opened.close()


class Watch:
    """What a page must not do: break the content policy, or complain on the console."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        page.add_init_script(_TELL_VIOLATIONS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        is_refused_form = "status of 422" in message.text  # Chromium remarks on every 4xx; this one is meant
        if message.type in ("error", "warning") and not is_refused_form:
            self.complaints.append(message.text)


def new_context(browser: Browser, **changes: object) -> BrowserContext:
    options = {
        "viewport": {"width": 1280, "height": 800},
        "locale": "en-GB",
        "timezone_id": "Europe/Berlin",
        "reduced_motion": "reduce",  # a colour that is on its way is no colour to be measured
    }
    return browser.new_context(**{**options, **changes})  # type: ignore[arg-type]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
