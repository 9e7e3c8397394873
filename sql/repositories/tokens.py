"""Tokens of clients. Counts are the traffic's, the rest is the admin's: no statement writes both.

Whoever changes a token appends a change in the same transaction, so that workers forget it (sql.repositories.changes).
"""

from collections.abc import Sequence

import msgspec

from sql.database import Connection
from sql.rows import TokenHashes, TokenRow, TokenUsage
from sql.statements import load
from sql.values import as_row

_Q = load("tokens")


async def by_hash(on: Connection, token_hash: str) -> TokenRow | None:
    """Also by the secret before the last rotation, whether its grace is over or not."""
    row = await on.fetch_one(_Q.by_hash, {"token_hash": token_hash})
    return as_row(TokenRow, row) if row else None


async def get(on: Connection, token_id: str) -> TokenRow | None:
    row = await on.fetch_one(_Q.get, {"id": token_id})
    return as_row(TokenRow, row) if row else None


async def create(on: Connection, row: TokenRow) -> None:
    """Raises BrokenReference when the project does not exist."""
    await on.execute(_Q.create, msgspec.structs.asdict(row))


async def update(on: Connection, row: TokenRow) -> bool:
    """Hint, is_active, expiry, quota and deactivated_at_ms; never the counts. False when it is not there."""
    return await on.execute(_Q.update, msgspec.structs.asdict(row)) > 0


async def rotate(on: Connection, row: TokenRow) -> bool:
    """Secret, hint and what was there before. False when it is not there."""
    return await on.execute(_Q.rotate, msgspec.structs.asdict(row)) > 0


async def list_page(
    on: Connection,
    *,
    project_id: str | None = None,
    is_active: bool | None = None,
    is_expired: bool | None = None,
    is_used_up: bool | None = None,
    now_ms: int,
    after: tuple[int, str] | None = None,
    limit: int,
    offset: int = 0,
) -> list[TokenRow]:
    """Newest first. `after` is (created_at_ms, id) of the last row of the page before."""
    at_ms, token_id = after or (None, None)
    params = {
        **_filter(project_id, is_active, is_expired, is_used_up, now_ms),
        "after_at_ms": at_ms,
        "after_id": token_id,
        "limit": limit,
        "offset": offset,
    }
    return [as_row(TokenRow, row) for row in await on.fetch_all(_Q.list_page, params)]


async def count(
    on: Connection,
    *,
    project_id: str | None = None,
    is_active: bool | None = None,
    is_expired: bool | None = None,
    is_used_up: bool | None = None,
    now_ms: int,
) -> int:
    row = await on.fetch_one(_Q.count, _filter(project_id, is_active, is_expired, is_used_up, now_ms))
    return int(row["n"]) if row else 0


async def revoke(on: Connection, token_id: str, now_ms: int) -> bool:
    """False when it was not active, or is not there."""
    return await on.execute(_Q.revoke, {"id": token_id, "now_ms": now_ms}) > 0


async def revoke_all(on: Connection, project_id: str, now_ms: int) -> list[TokenHashes]:
    """Hashes of the tokens that were active until now, with those that they had before a rotation."""
    rows = await on.fetch_all(_Q.revoke_all, {"project_id": project_id, "now_ms": now_ms})
    return [TokenHashes(row["token_hash"], row["previous_hash"]) for row in rows]


async def admit(on: Connection, token_id: str, now_ms: int) -> bool:
    """Takes one request of the quota; False when the token is inactive, expired, used up or not there.

    Exact over all workers. A cancelled or failed call may have taken the request nevertheless.
    """
    return await on.execute(_Q.admit, {"id": token_id, "now_ms": now_ms}) > 0


async def add_usage(on: Connection, usages: Sequence[TokenUsage]) -> None:
    """All or none. In the order of their ids, so that two workers never wait for each other crosswise."""
    if usages:
        ordered = sorted(usages, key=lambda usage: usage.id)
        await on.execute_many(_Q.add_usage, [msgspec.structs.asdict(usage) for usage in ordered])


def _filter(
    project_id: str | None, is_active: bool | None, is_expired: bool | None, is_used_up: bool | None, now_ms: int
) -> dict[str, str | bool | int | None]:
    return {
        "project_id": project_id,
        "is_active": is_active,
        "expired_at_ms": now_ms if is_expired is True else None,
        "live_at_ms": now_ms if is_expired is False else None,
        "used_up": True if is_used_up is True else None,
        "quota_left": True if is_used_up is False else None,
    }
