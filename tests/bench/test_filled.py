"""What benchmarks fill databases with still fits the tables."""

from pathlib import Path

from sql.repositories import projects, requests, tokens
from sql.rows import RequestFilter
from sql.stores import Stores
from tests.bench.filled import add_requests, add_tokens
from tests.support import rows


async def test_a_database_is_filled_with_projects_tokens_and_requests(sqlite_stores: Stores, tmp_path: Path) -> None:
    first = rows.project()
    await projects.create(sqlite_stores.main, first)
    await tokens.create(sqlite_stores.main, rows.token(first.id))
    await sqlite_stores.close()

    made = add_tokens(tmp_path / "llm-proxy.db", 3)
    add_requests(tmp_path / "records.db", 40)

    assert len(made) == 3
    assert await projects.count(sqlite_stores.main) == 4
    assert await requests.count_capped(sqlite_stores.records, RequestFilter(), 100) == 40
