"""No list and no lookup reads a whole table: what the planners of both databases say to every query."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from sql.statements import QUERIES, Statement, load, parameters
from sql.stores import Stores

LISTS = {"list_page", "after", "chain_page", "for_project", "bodies", "durations"}
COUNTS = {"count", "count_capped"}  # walk what they count, the second one no further than its cap
NOT_PLANNED = {
    "insert", "insert_body", "add_minute", "add_names", "append", "create", "move_head", "add", "lock", "head",
    "last_id",
}  # fmt: skip
# These find few rows at once, so sorting those is better than walking along the list's order.
NARROW = {"requests.list_page": {"request_id_from"}, "audit.list_page": {"since_ms", "until_ms"}}
NUMBERS = {
    "limit", "offset", "cap", "last_id", "requests", "max_requests", "cache_hits", "weight",
    "version", "expected_version",
}  # fmt: skip
RECORDS = {"requests", "rollups"}
TABLES = sorted(f.stem for f in QUERIES.glob("*.sql") if ".postgres" not in f.name and f.stem != "schema_migrations")


def _value(name: str) -> Any:
    if name == "is_active":
        return True
    if name in ("ids", "rows"):
        return '["a"]'
    is_number = name.endswith(("_ms", "_from", "_below", "_seq")) and not name.startswith("request_id")
    return 1 if is_number or name in NUMBERS else "a"


def _variants(statement: Statement) -> Iterator[tuple[Statement, dict[str, Any]]]:
    """Alone, with each filter, with each pair and with all of them."""
    every = {name: _value(name) for name in parameters(statement.sqlite)}
    for size in {0, 1, 2, len(statement.optional)}:
        for chosen in combinations(statement.optional, size):
            params = {n: v for n, v in every.items() if n not in statement.optional or n in chosen}
            yield statement.given(params), params


PLANNED = [s for table in TABLES for s in load(table) if s.name.partition(".")[2] not in NOT_PLANNED]


@pytest.mark.parametrize("statement", PLANNED, ids=lambda statement: statement.name)
async def test_every_query_goes_through_an_index(stores: Stores, statement: Statement) -> None:
    table, _, name = statement.name.partition(".")
    database = stores.records if table in RECORDS else stores.main

    for variant, params in _variants(statement):
        plan = await _plan(database, variant, params)
        complaint = f"{variant.sqlite}\n\n{plan}"
        is_narrow = not NARROW.get(statement.name, set()).isdisjoint(params)
        if name in LISTS and not (is_narrow and _is_search(plan, database.dialect)):
            assert _is_ordered_walk(plan, database.dialect), complaint
        elif name not in COUNTS:
            assert _is_search(plan, database.dialect), complaint


async def _plan(database: Any, statement: Statement, params: dict[str, Any]) -> str:
    explain = Statement("explain", f"EXPLAIN QUERY PLAN {statement.sqlite}", f"EXPLAIN {statement.postgres}")
    async with database.transaction() as on:
        if database.dialect == "postgres":  # an almost empty table is read whole, and sorted, whatever indexes it has
            for way in ("seqscan", "bitmapscan", "indexonlyscan", "sort"):
                await on.execute(Statement("set", "", f"SET LOCAL enable_{way} = off"), {})
        rows = await on.fetch_all(explain, params)
    return "\n".join(str(row.get("detail") or row.get("QUERY PLAN")) for row in rows)


def _is_ordered_walk(plan: str, dialect: str) -> bool:
    """Along an index that has the order of the list already, so that the LIMIT ends the walk."""
    if dialect == "postgres":
        return "Index" in plan and "Seq Scan" not in plan and "Sort" not in plan
    return "TEMP B-TREE" not in plan and all(_is_indexed(line) for line in plan.splitlines())


def _is_search(plan: str, dialect: str) -> bool:
    """Only the part of the index that the condition names."""
    if dialect == "postgres":
        return "Index Cond" in plan and "Seq Scan" not in plan
    return "SEARCH" in plan and all(_is_indexed(line) for line in plan.splitlines())


def _is_indexed(line: str) -> bool:
    return not line.startswith("SCAN") or "USING" in line or "json_each" in line
