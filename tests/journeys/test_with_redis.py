"""A whole server on Redis Streams: relay and dispatcher are processes of their own, and Redis may go away."""

import sqlite3
from pathlib import Path

import httpx
import pytest
import yaml

from sql.sealing import new_key
from tests.support.llm_proxy import Server, serving
from tests.support.proxy import free_port
from tests.support.redis_server import RedisServer
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

MANAGEMENT_TOKEN = "a-management-token-for-tests"


def environ(folder: Path, upstream: Upstream, redis: RedisServer, port: int) -> dict[str, str]:
    api = {"base_url": upstream.url, "allowed_methods": ["GET", "POST"], "allowed_endpoints": ["/v1"]}
    (folder / "providers.yaml").write_text(yaml.safe_dump({"default_api": "openai", "apis": {"openai": api}}))
    return {
        "MANAGEMENT_TOKEN": MANAGEMENT_TOKEN,
        "ENCRYPTION_KEY": new_key(),
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "API_CONFIG_PATH": str(folder / "providers.yaml"),
        "REDIS_URL": redis.url,
        "LLM_PROXY_DISPATCHER_MIN_IDLE_MS": "1000",
        "LLM_PROXY_DRAIN_S": "8",
    }


def is_up(client: httpx.Client, server: Server) -> bool:
    assert server.process.poll() is None, server.err
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def make_token(client: httpx.Client) -> str:
    headers = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    project = client.post("/manage/projects", json={"name": "p", "api_key": "sk-upstream"}, headers=headers).json()
    body = {"project_id": project["id"], "duration_minutes": 60}
    token: str = client.post("/manage/tokens", json=body, headers=headers).json()["token"]
    return token


def call(client: httpx.Client, token: str, times: int) -> set[str]:
    headers = {"authorization": f"Bearer {token}"}
    replies = [client.post("/v1/chat/completions", json={"model": "m"}, headers=headers) for _ in range(times)]
    assert {r.status_code for r in replies} == {200}
    return {r.headers["x-llm-proxy-event-id"] for r in replies}


def recorded(folder: Path) -> list[str]:
    with sqlite3.connect(f"file:{folder / 'data' / 'records.db'}?mode=ro", uri=True, timeout=60) as db:
        return [row[0] for row in db.execute("SELECT event_id FROM requests")]


@pytest.mark.slow
def test_events_arrive_once_while_redis_is_up_frozen_and_killed(
    tmp_path: Path, upstream: Upstream, own_redis: RedisServer
) -> None:
    port = free_port()
    sent: set[str] = set()
    with serving(tmp_path, "--no-admin", **environ(tmp_path, upstream, own_redis, port)) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        eventually(lambda: is_up(client, server))
        token = make_token(client)

        sent |= call(client, token, 20)
        eventually(lambda: sent == set(recorded(tmp_path)))

        own_redis.freeze(is_frozen=True)
        sent |= call(client, token, 20)
        own_redis.freeze(is_frozen=False)
        eventually(lambda: sent == set(recorded(tmp_path)))

        own_redis.kill()
        sent |= call(client, token, 20)
        assert client.get("/ready").status_code == 200
        own_redis.start()
        eventually(lambda: sent == set(recorded(tmp_path)))

        sent |= call(client, token, 20)
        assert server.stop() == 0

    assert sorted(sent) == sorted(recorded(tmp_path))
