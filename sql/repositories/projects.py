"""Projects: whose tokens, API keys and records belong together."""

from collections.abc import Iterable

import msgspec

from sql.database import Connection
from sql.rows import ProjectRow
from sql.statements import load
from sql.values import as_row, pattern

_Q = load("projects")


async def get(on: Connection, project_id: str) -> ProjectRow | None:
    row = await on.fetch_one(_Q.get, {"id": project_id})
    return as_row(ProjectRow, row) if row else None


async def create(on: Connection, row: ProjectRow) -> None:
    """Raises Conflict("name")."""
    await on.execute(_Q.create, msgspec.structs.asdict(row))


async def update(on: Connection, row: ProjectRow) -> bool:
    """Everything but id and birth. False when it is not there. Raises Conflict("name")."""
    return await on.execute(_Q.update, msgspec.structs.asdict(row)) > 0


async def list_page(
    on: Connection,
    *,
    search: str | None = None,
    is_active: bool | None = None,
    after: tuple[str, str] | None = None,
    limit: int,
    offset: int = 0,
) -> list[ProjectRow]:
    """By name. `after` is (name, id) of the last row of the page before; `search` is part of a name in any case."""
    name, project_id = after or (None, None)
    params = {"pattern": pattern(search), "is_active": is_active, "limit": limit, "offset": offset}
    rows = await on.fetch_all(_Q.list_page, {**params, "after_name": name, "after_id": project_id})
    return [as_row(ProjectRow, row) for row in rows]


async def count(on: Connection, *, search: str | None = None, is_active: bool | None = None) -> int:
    row = await on.fetch_one(_Q.count, {"pattern": pattern(search), "is_active": is_active})
    return int(row["n"]) if row else 0


async def names(on: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Id to name; ids of no project are left out."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = await on.fetch_all(_Q.names, {"ids": msgspec.json.encode(wanted).decode()})
    return {row["id"]: row["name"] for row in rows}
