"""The admin as a process of its own, under Granian."""

import asyncio
import os
import socket
import time
from pathlib import Path

import httpx

from config.clock import SystemClock
from config.load import as_environment
from config.settings import Settings
from tests.admin.pages.site import open_site, site_settings
from tests.support.browser import AdminProcess


def start(folder: Path) -> AdminProcess:
    settings = site_settings(folder)
    asyncio.run(_migrate(settings))
    return AdminProcess(as_environment(settings), folder / "admin.log")


async def _migrate(settings: Settings) -> None:
    await (await open_site(settings, SystemClock())).close()


def test_it_serves_and_ends_with_0_on_sigterm_while_a_browser_holds_a_connection(tmp_path: Path) -> None:
    process = start(tmp_path)
    with httpx.Client(base_url=process.url) as browser:
        assert browser.get("/ready").json() == {"status": "ready"}
        begun = time.monotonic()

        assert process.stop() == 0, process.log.read_text()

    assert time.monotonic() - begun < 5


def test_a_refused_body_does_not_end_the_process(tmp_path: Path) -> None:
    process = start(tmp_path)
    with socket.create_connection(("127.0.0.1", process.port)) as raw:
        raw.sendall(b"POST /admin/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + os.urandom(1000))

    with httpx.Client(base_url=process.url) as browser:
        assert browser.get("/live").status_code == 200
    assert process.stop() == 0, process.log.read_text()
