"""A whole server with every sink turned on; then every file, page and line of log is searched for secrets."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sql.sealing import new_key
from tests.support.llm_proxy import Server, serving
from tests.support.proxy import free_port
from tests.support.upstream import Received, Upstream, Wire
from tests.support.waiting import eventually

MANAGEMENT_TOKEN = "CANARY-management-token-0123456789"
API_KEY = "sk-CANARY-api-key-0123456789abcdef"
OLD_API_KEY = "sk-CANARY-old-api-key-0123456789ab"
SHOWN = {
    n: f"CANARY-{n}-0123456789" for n in ("x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization")
}


def settings_of(folder: Path, upstream: Upstream, port: int) -> dict[str, str]:
    api = {"base_url": upstream.url, "allowed_methods": ["GET", "POST"], "allowed_endpoints": ["/v1"]}
    providers = folder / "providers.yaml"
    providers.write_text(yaml.safe_dump({"default_api": "openai", "apis": {"openai": api}}))
    return {
        "MANAGEMENT_TOKEN": MANAGEMENT_TOKEN,
        "ENCRYPTION_KEY": new_key(),
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "ADMIN_UI_LISTEN_ADDR": f"127.0.0.1:{free_port()}",
        "API_CONFIG_PATH": str(providers),
        "FILE_EVENT_LOG": str(folder / "data" / "events.jsonl"),
        "LOG_LEVEL": "debug",
    }


def make_secrets(manage: httpx.Client) -> list[str]:
    """A token's secret after a rotation, then all the other secrets: those of before, and of a program that manages."""
    project = manage.post("/manage/projects", json={"name": "canaries", "api_key": OLD_API_KEY}).json()
    keys = f"/manage/projects/{project['id']}/api_keys"
    manage.post(f"{keys}/{manage.get(keys).json()[0]['id']}/rotate", json={"key": API_KEY}).raise_for_status()
    token = manage.post("/manage/tokens", json={"project_id": project["id"], "duration_minutes": 60}).json()
    rotated = manage.post(f"/manage/tokens/{token['id']}/rotate", json={"grace": "0"}).json()
    program = manage.post("/manage/management-tokens", json={"name": "ci", "scopes": ["read"]}).json()
    for secret in (program["token"], "sk-mgmt-CANARY-wrong", token["token"], API_KEY):
        headers = {"authorization": f"Bearer {secret}", "x-audit-reason": f"canary {secret}"}
        assert manage.post("/manage/tokens", json={}, headers=headers).status_code in (401, 403)
    return [rotated["token"], token["token"], program["token"], "sk-mgmt-CANARY-wrong", OLD_API_KEY]


def delivered(folder: Path, wanted: set[str]) -> bool:
    """Whether both backends have all of these events."""
    lines = (folder / "data" / "events.jsonl").read_text().splitlines()
    in_file = {json.loads(line)["event_id"] for line in lines}
    with sqlite3.connect(f"file:{folder / 'data' / 'records.db'}?mode=ro", uri=True) as db:
        in_database = {row[0] for row in db.execute("SELECT event_id FROM requests")}
    return wanted <= in_file and wanted <= in_database


@pytest.mark.slow
def test_no_secret_is_in_any_sink(tmp_path: Path, upstream: Upstream) -> None:
    port = free_port()
    told: list[str] = []

    @upstream.on("/v1/broken")
    async def broken(received: Received, wire: Wire) -> None:
        wire.cut()

    with serving(tmp_path, **settings_of(tmp_path, upstream, port)) as server:
        made = call_with_canaries(server, port, told, tmp_path)
        assert server.stop() == 0
        told += [server.out, server.err]

    written = b"".join(p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file())
    for secret in (MANAGEMENT_TOKEN, API_KEY, *made, *SHOWN.values(), "CANARY-query"):
        assert secret.encode() not in written
        assert all(secret not in text for text in told)


def call_with_canaries(server: Server, port: int, told: list[str], folder: Path) -> list[str]:
    """Makes a token and uses it in every way; `told` gets whatever the server answers afterwards. Returns secrets."""
    manage = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    manage.headers["authorization"] = f"Bearer {MANAGEMENT_TOKEN}"
    eventually(lambda: is_up(manage, server))
    token, *others = made = make_secrets(manage)
    events: set[str] = set()
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=SHOWN)
    for credentials in (*others, token, "CANARY-query-token", API_KEY):
        for target in ("/v1/chat/completions", "/v1/broken", "/nobody/v1/x", f"/v1/models?key={token}&a=CANARY-query"):
            response = client.post(target, json={"model": "m"}, headers={"authorization": f"Bearer {credentials}"})
            events.add(response.headers["x-llm-proxy-event-id"])
    eventually(lambda: delivered(folder, events))
    pages = (
        "/manage/projects",
        "/manage/tokens",
        "/manage/audit",
        "/manage/management-tokens",
        "/manage/requests",
        "/metrics",
        "/metrics/prometheus",
    )
    told += [manage.get(page).text for page in pages]
    return made


def is_up(manage: httpx.Client, server: Server) -> bool:
    assert server.process.poll() is None, server.err
    try:
        return manage.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_an_upgrade_gets_a_clear_501_from_the_whole_server(tmp_path: Path, upstream: Upstream) -> None:
    port = free_port()
    headers: dict[str, Any] = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}

    with serving(tmp_path, "--no-admin", **settings_of(tmp_path, upstream, port)) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        eventually(lambda: is_up(client, server))
        response = client.get("/v1/realtime", headers={**headers, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})

    assert (response.status_code, response.json()["code"]) == (501, "not_implemented")
