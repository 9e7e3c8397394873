"""/manage under a real Granian on loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from config.load import as_environment
from config.settings import Settings
from tests.admin.api.conftest import TOKEN
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def serve(settings: Settings, folder: Path) -> Iterator[str]:
    """Gives its base URL."""
    environment = {
        **os.environ,
        **as_environment(settings),
        "ENV": os.devnull,
        "MANAGEMENT_TOKEN": TOKEN,
        "LLM_PROXY_MANAGE_RPM": "0",
        "LLM_PROXY_LOGIN_RPM": "100000",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "granian.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.admin.api.serve_manage", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url + "/manage/openapi.json").status_code == 200
    except httpx.HTTPError:
        return False
