"""A whole server on three streams, its large events in a folder; then on one stream again, with what is left."""

import os
from pathlib import Path

import httpx
import pytest

from tests.journeys.test_with_redis import environ, is_up, make_token, recorded
from tests.support.llm_proxy import serving
from tests.support.proxy import free_port
from tests.support.redis_server import RedisServer
from tests.support.upstream import Upstream
from tests.support.waiting import eventually


def call(client: httpx.Client, token: str, times: int) -> set[str]:
    headers = {"authorization": f"Bearer {token}"}
    bodies = [{"model": "m", "messages": [{"role": "user", "content": os.urandom(500).hex()}]} for _ in range(times)]
    replies = [client.post("/v1/chat/completions", json=body, headers=headers) for body in bodies]
    assert {reply.status_code for reply in replies} == {200}
    return {reply.headers["x-llm-proxy-event-id"] for reply in replies}


@pytest.mark.slow
def test_events_arrive_once_over_shards_and_after_their_number_has_changed(
    tmp_path: Path, upstream: Upstream, own_redis: RedisServer
) -> None:
    settings = environ(tmp_path, upstream, own_redis, port := free_port())
    settings |= {"LLM_PROXY_CLAIM_CHECK_DIR": str(tmp_path / "claims"), "LLM_PROXY_CLAIM_CHECK_BYTES": "500"}
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    with serving(tmp_path, "--no-admin", **settings, LLM_PROXY_STREAM_SHARDS="3", LLM_PROXY_WORKERS="2") as server:
        eventually(lambda: is_up(client, server))
        token = make_token(client)
        sent = call(client, token, 20)
        eventually(lambda: sent == set(recorded(tmp_path)))
        sent |= call(client, token, 20)
        server.stop()
    (old := tmp_path / "claims" / "2020-01-01" / "00").mkdir(parents=True)
    with serving(tmp_path, "--no-admin", **settings, LLM_PROXY_STREAM_SHARDS="1") as server:
        eventually(lambda: is_up(client, server))
        sent |= call(client, token, 20)
        eventually(lambda: sent == set(recorded(tmp_path)))
        eventually(lambda: not old.exists())
        server.stop()

    assert sorted(sent) == sorted(recorded(tmp_path))
    assert {path.name for path in (tmp_path / "claims").glob("*/*/*")} == {event.replace("-", "") for event in sent}
