"""API keys of the providers, sealed on the way in and opened on the way out."""

from collections.abc import Iterable
from typing import Final

import msgspec

from sql.database import Connection, Row
from sql.rows import ApiKeyRow
from sql.sealing import Sealer
from sql.statements import load

_Q = load("api_keys")
MOST_PER_PROJECT: Final = 1000  # a bound for the query; a handful is the usual


async def for_project(on: Connection, sealer: Sealer, project_id: str) -> list[ApiKeyRow]:
    """By provider, oldest first. Raises SealBroken."""
    rows = await on.fetch_all(_Q.for_project, {"project_id": project_id, "limit": MOST_PER_PROJECT})
    return [_opened(sealer, row) for row in rows]


async def for_projects(on: Connection, sealer: Sealer, project_ids: Iterable[str]) -> dict[str, list[ApiKeyRow]]:
    """The same for each of these projects, those without keys included. Raises SealBroken."""
    keys: dict[str, list[ApiKeyRow]] = {project_id: [] for project_id in project_ids}
    ids = msgspec.json.encode(sorted(keys)).decode()
    for row in await on.fetch_all(_Q.for_projects, {"ids": ids, "limit": len(keys) * MOST_PER_PROJECT}):
        keys[row["project_id"]].append(_opened(sealer, row))
    return keys


async def get(on: Connection, sealer: Sealer, api_key_id: str) -> ApiKeyRow | None:
    """Raises SealBroken."""
    row = await on.fetch_one(_Q.get, {"id": api_key_id})
    return _opened(sealer, row) if row else None


async def create(on: Connection, sealer: Sealer, row: ApiKeyRow) -> None:
    """Raises BrokenReference when the project does not exist."""
    await on.execute(_Q.create, _sealed(sealer, row))


async def update(on: Connection, sealer: Sealer, row: ApiKeyRow) -> bool:
    """Provider, key, weight and what replaced it; False when the project has no such key."""
    return await on.execute(_Q.update, _sealed(sealer, row)) > 0


async def delete(on: Connection, api_key_id: str, project_id: str) -> bool:
    """False when the project has no such key."""
    return await on.execute(_Q.delete, {"id": api_key_id, "project_id": project_id}) > 0


async def delete_retired(on: Connection, now_ms: int) -> int:
    """Keys whose rotation cannot be undone any more. They had weight 0, so no process has to forget them."""
    return await on.execute(_Q.delete_retired, {"now_ms": now_ms})


def _opened(sealer: Sealer, row: Row) -> ApiKeyRow:
    return ApiKeyRow(**{**row, "key": sealer.unseal(row["key"])})


def _sealed(sealer: Sealer, row: ApiKeyRow) -> dict[str, object]:
    return {**msgspec.structs.asdict(row), "key": sealer.seal(row.key.reveal())}
