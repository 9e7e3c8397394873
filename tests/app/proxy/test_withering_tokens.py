"""Tokens: quotas are exact over workers, changes are obeyed within a second, and the database may be away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from sql.repositories import changes, projects, tokens
from sql.stores import Stores
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy, make_token, now_ms
from tests.support.upstream import Upstream
from tests.support.waiting import eventually


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
def test_a_quota_is_exact_over_two_workers_and_many_calls_at_once(
    own_proxy: Proxy, upstream: Upstream, driver: str, request: pytest.FixtureRequest
) -> None:
    own_proxy.environ["LLM_PROXY_WORKERS"] = "2"
    if driver == "postgres":
        own_proxy.environ |= {"DB_DRIVER": "postgres", "DATABASE_URL": request.getfixturevalue("postgres_database_url")}
    own_proxy.start()
    token_id, token = own_proxy.new_token(max_requests=25)

    def call(_: int) -> int:
        # a connection each, so that both workers get some
        return httpx.get(
            f"{own_proxy.url}/v1/models", headers={"authorization": f"Bearer {token}"}, timeout=60
        ).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(call, range(60)))

    assert (statuses.count(200), statuses.count(429)) == (25, 35)
    assert len(upstream.received) == 25
    row = own_proxy.run(lambda stores: tokens.get(stores.main, token_id))
    assert row is not None
    assert row.request_count == 25


def test_a_used_up_quota_tells_sdks_not_to_ask_again(proxy: Proxy) -> None:
    _, token = proxy.new_token(max_requests=1)
    with proxy.client(headers={"authorization": f"Bearer {token}"}) as client:
        first, second = client.get("/v1/models"), client.get("/v1/models")

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["code"] == "quota_exceeded"
    assert "retry-after" not in second.headers
    assert second.headers["x-should-retry"] == "false"


def test_requests_of_a_token_without_quota_are_counted(proxy: Proxy) -> None:
    token_id, token = proxy.new_token()
    with proxy.client(headers={"authorization": f"Bearer {token}"}) as client:
        for _ in range(7):
            client.get("/v1/models")

    def counted() -> bool:
        row = proxy.run(lambda stores: tokens.get(stores.main, token_id))
        return row is not None and row.request_count == 7 and row.last_used_at_ms is not None

    eventually(counted)


def test_a_revoked_token_is_refused_within_a_second(proxy: Proxy) -> None:
    token_id, token = proxy.new_token()
    with proxy.client(headers={"authorization": f"Bearer {token}"}) as client:
        assert client.get("/v1/models").status_code == 200

        proxy.run(lambda stores: _revoke(stores, token_id))

        eventually(lambda: client.get("/v1/models").status_code == 401, within_s=20)


def test_a_deactivated_project_is_refused_within_a_second(own_proxy: Proxy) -> None:
    own_proxy.start()
    with own_proxy.client() as client:
        assert client.get("/v1/models").status_code == 200

        own_proxy.run(lambda stores: _deactivate(stores, own_proxy.project_id))

        eventually(lambda: client.get("/v1/models").status_code == 403, within_s=20)


def test_a_new_token_works_although_it_was_unknown_a_moment_ago(proxy: Proxy) -> None:
    from config.ids import new_token
    from sql.sealing import hash_token

    token = new_token()
    with proxy.client(headers={"authorization": f"Bearer {token}"}) as client:
        assert client.get("/v1/models").status_code == 401

        proxy.run(lambda stores: make_token(stores, proxy.project_id, token_hash=hash_token(token)))

        eventually(lambda: client.get("/v1/models").status_code == 200, within_s=20)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, because it is going to be stopped."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.mark.slow
def test_while_the_database_is_away_only_what_is_known_and_unlimited_works(
    own_proxy: Proxy, own_postgres: PostgresServer
) -> None:
    url = own_postgres.create_database()
    own_proxy.environ |= {"DB_DRIVER": "postgres", "DATABASE_URL": url, "LLM_PROXY_DATABASE_TIMEOUT_MS": "500"}
    own_proxy.start()
    _, known = own_proxy.new_token()
    _, limited = own_proxy.new_token(max_requests=100)
    _, unseen = own_proxy.new_token()

    def status(token: str) -> tuple[int, str | None]:
        response = httpx.get(f"{own_proxy.url}/v1/models", headers={"authorization": f"Bearer {token}"}, timeout=60)
        return response.status_code, response.headers.get("retry-after")

    # changes are obeyed in order: when this one is, none that would make the worker forget `known` is still to come
    revoked_id, revoked = own_proxy.new_token()
    assert status(revoked)[0] == 200
    own_proxy.run(lambda stores: _revoke(stores, revoked_id))
    eventually(lambda: status(revoked)[0] == 401)
    assert [status(known)[0], status(limited)[0]] == [200, 200]

    own_postgres.stop()

    eventually(lambda: status(unseen) == (503, "2"))
    assert status(known) == (200, None)
    assert status(limited) == (503, "2")
    assert httpx.get(f"{own_proxy.url}/ready").status_code == 200
    assert "database" in httpx.get(f"{own_proxy.url}/ready").text

    own_postgres.start()

    eventually(lambda: [status(t)[0] for t in (known, limited, unseen)] == [200, 200, 200])


async def _revoke(stores: Stores, token_id: str) -> None:
    row = await tokens.get(stores.main, token_id)
    assert row is not None
    async with stores.main.transaction() as transaction:
        await tokens.update(transaction, msgspec.structs.replace(row, is_active=False))
        await changes.append(transaction, "token", row.token_hash, now_ms())


async def _deactivate(stores: Stores, project_id: str) -> None:
    row = await projects.get(stores.main, project_id)
    assert row is not None
    async with stores.main.transaction() as transaction:
        await projects.update(transaction, msgspec.structs.replace(row, is_active=False))
        await changes.append(transaction, "project", project_id, now_ms())
