"""Tokens of programs that manage: kept by the hash of their secret, like those of clients."""

from typing import Final

import msgspec

from sql.database import Connection
from sql.rows import ManagementTokenRow
from sql.statements import load
from sql.values import as_row

_Q = load("management_tokens")
_TOUCH_MS: Final = 60_000  # "last used" is written once a minute, not with every call


async def by_hash(on: Connection, token_hash: str) -> ManagementTokenRow | None:
    """Also by the secret before the last rotation, and when it has expired or was revoked."""
    row = await on.fetch_one(_Q.by_hash, {"token_hash": token_hash})
    return as_row(ManagementTokenRow, row) if row else None


async def get(on: Connection, token_id: str) -> ManagementTokenRow | None:
    row = await on.fetch_one(_Q.get, {"id": token_id})
    return as_row(ManagementTokenRow, row) if row else None


async def list_page(on: Connection, *, after: tuple[int, str] | None = None, limit: int) -> list[ManagementTokenRow]:
    """Newest first. `after` is (created_at_ms, id) of the last row of the page before."""
    at_ms, token_id = after or (None, None)
    params = {"after_at_ms": at_ms, "after_id": token_id, "limit": limit}
    return [as_row(ManagementTokenRow, row) for row in await on.fetch_all(_Q.list_page, params)]


async def create(on: Connection, row: ManagementTokenRow) -> None:
    """Raises Conflict when the name is taken."""
    await on.execute(_Q.create, msgspec.structs.asdict(row))


async def update(on: Connection, row: ManagementTokenRow) -> bool:
    """Secret, hint, revocation and what was there before. False when it is not there."""
    return await on.execute(_Q.update, msgspec.structs.asdict(row)) > 0


async def touch(on: Connection, token_id: str, now_ms: int) -> None:
    await on.execute(_Q.touch, {"id": token_id, "now_ms": now_ms, "before_ms": now_ms - _TOUCH_MS})
