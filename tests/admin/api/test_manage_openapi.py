"""The description of /manage is what is served: held against it by machine, and readable by people."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from admin.api.docs import page
from admin.api.openapi import document
from admin.api.routes import OPERATIONS
from bus.sqlite_log import SqliteLog
from config.settings import Settings
from tests.admin.api.conftest import TOKEN
from tests.admin.api.served import serve
from tests.admin.pages.bus_stage import bury, keeping


@pytest.fixture
async def described(light: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await light.get("/manage/openapi.json")).json()
    return found


async def test_every_operation_is_described_once(described: dict[str, Any]) -> None:
    told = {(path, method.upper()) for path, methods in described["paths"].items() for method in methods}

    assert told == {(op.path, op.method) for op in OPERATIONS if op.status != 405}
    names = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', msgspec.json.encode(described).decode()))

    assert references
    assert references <= set(described["components"]["schemas"])


async def test_only_the_description_itself_needs_no_token(described: dict[str, Any]) -> None:
    is_open = {
        path for path, methods in described["paths"].items() for op in methods.values() if op.get("security") == []
    }

    assert is_open == {"/manage/openapi.json", "/manage/docs"}
    assert described["security"] == [{"managementToken": []}]


async def test_the_providers_of_this_server_are_named(described: dict[str, Any]) -> None:
    names = described["components"]["schemas"]["NewApiKey"]["properties"]["provider"]["enum"]

    assert {"openai", "anthropic"} <= set(names)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


async def test_the_page_shows_every_operation_without_any_script(light: httpx.AsyncClient) -> None:
    reply = await light.get("/manage/docs")
    seen = Page()
    seen.feed(reply.text)

    assert reply.headers["content-type"].startswith("text/html")
    assert all(f"<code>{op.method} {op.path}</code>" in reply.text for op in OPERATIONS if op.status != 405)
    assert "script" not in {tag for tag, _ in seen.tags}
    targets = {attrs["href"] for tag, attrs in seen.tags if tag == "a"}
    ids = {f"#{attrs['id']}" for _, attrs in seen.tags if "id" in attrs}
    assert targets <= ids | {"/manage/openapi.json"}


async def test_the_page_may_load_nothing(light: httpx.AsyncClient) -> None:
    policy = (await light.get("/manage/docs")).headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; style-src 'self' 'sha256-")
    assert "unsafe" not in policy


def test_what_a_description_says_is_escaped() -> None:
    described = document(OPERATIONS, ["<script>alert(1)</script>"])
    described["info"]["title"] = '"><script>alert(2)</script>'

    assert "<script>" not in page(described)


# No schema says that names differ, that a window goes with a measure, which time zones there are.
_BEYOND_A_SCHEMA = """
[[operations]]
include-path-regex = "^/manage/policy"
checks = { positive_data_acceptance = { enabled = false } }
"""


async def _bury(log: SqliteLog) -> None:
    await bury(log, "webhook", 4)


@pytest.mark.slow
@pytest.mark.parametrize("store_settings", ["postgres"], indirect=True)  # the stricter one about what it takes
def test_schemathesis_finds_nothing(store_settings: Settings, tmp_path: Path) -> None:
    """All its checks, among them: no 5xx, no undescribed status, header or body, nothing accepted that is described as
    wrong, nothing refused that is described as right, no way around the token."""
    tool = Path(sys.executable).with_name("schemathesis")
    (tmp_path / "schemathesis.toml").write_text(_BEYOND_A_SCHEMA)
    options = ["--max-examples", "10", "--seed", "20261121", "--no-color", "--generation-database", "none"]
    options += ["-H", f"Authorization: Bearer {TOKEN}", "--max-time", "12", "--warnings", "off"]

    with keeping(store_settings, 6, _bury), serve(store_settings, tmp_path) as url:
        command = [str(tool), "run", f"{url}/manage/openapi.json", *options]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert re.search(r"[1-9]\d* generated", run.stdout), run.stdout[-2000:]
