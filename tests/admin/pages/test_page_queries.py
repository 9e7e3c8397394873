"""A page asks the databases as often with fifty rows as with one."""

from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from sql.database import Database
from sql.repositories import requests
from tests.admin.pages.site import Site, project, request_row, token

PATHS = ["/admin/", "/admin/projects", "/admin/tokens", "/admin/requests", "/admin/audit", "/admin/projects/{project}"]


class Counting:
    """A database that counts what it is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._database, name)
        if name in ("fetch_one", "fetch_all", "execute", "execute_many"):
            self.asked += 1
        return found

    @asynccontextmanager
    async def transaction(self) -> Any:
        self.asked += 1
        async with self._database.transaction() as tx:
            yield tx


@pytest.fixture
async def counted(signed_in: Site) -> tuple[Site, list[Counting]]:
    stores = signed_in.parts.stores
    counters = [Counting(stores.main), Counting(stores.records)]
    site = Site(replace(signed_in.parts, stores=replace(stores, main=counters[0], records=counters[1])))
    await site.sign_in()
    return site, counters


async def fill(site: Site, number: int) -> str:
    """Every row of another project, which is where a question a row would show."""
    made = [await project(site.stores, f"Project {number}-{n}", "") for n in range(number)]
    rows = []
    for n, row in enumerate(made):
        await token(site.stores, row.id)
        await token(site.stores, made[0].id)
        rows.append(request_row(n, project_id=row.id))
    await requests.insert_many(site.stores.records, rows, [])
    return made[0].id


@pytest.mark.parametrize("path", PATHS)
async def test_more_rows_are_no_more_questions(counted: tuple[Site, list[Counting]], path: str) -> None:
    site, counters = counted
    asked = []
    for number in (1, 12):
        project_id = await fill(site, number)
        before = sum(counter.asked for counter in counters)
        assert (await site.get(path.format(project=project_id))).status_code == 200
        asked.append(sum(counter.asked for counter in counters) - before)

    assert asked[0] == asked[1]
    assert asked[0] <= 12
