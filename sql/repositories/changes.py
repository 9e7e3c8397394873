"""What processes must forget. A row is written in the transaction of the change itself; everyone polls for new ones."""

from collections.abc import Iterable
from typing import Final

from sql.database import Connection
from sql.rows import ChangeRow
from sql.statements import load

KEPT_S: Final = 7 * 86_400
"""How long a change can be asked for. Who could not ask for longer must forget everything."""
_Q = load("changes")


async def append(on: Connection, kind: str, key: str, at_ms: int) -> None:
    """Ids grow in the order of commit, so that `after` never misses one."""
    await append_many(on, kind, [key], at_ms)


async def append_many(on: Connection, kind: str, keys: Iterable[str], at_ms: int) -> None:
    """One change per key."""
    rows = [{"kind": kind, "key": key, "at_ms": at_ms} for key in keys]
    if rows:
        async with on.transaction() as transaction:
            await hold_order(transaction)
            await transaction.execute_many(_Q.append, rows)


async def hold_order(on: Connection) -> None:
    """Until the transaction ends nobody else appends a change or an audit row."""
    await on.fetch_one(_Q.lock, {})


async def after(on: Connection, last_id: int, limit: int) -> list[ChangeRow]:
    rows = await on.fetch_all(_Q.after, {"last_id": last_id, "limit": limit})
    return [ChangeRow(id=row["id"], kind=row["kind"], key=row["key"]) for row in rows]


async def last_id(on: Connection) -> int:
    """0 when there is none; ids are never used again."""
    row = await on.fetch_one(_Q.last_id, {})
    return int(row["id"]) if row else 0


async def prune(on: Connection, now_ms: int) -> int:
    """Deletes what is older than KEPT_S; returns how many those were."""
    return await on.execute(_Q.prune, {"before_ms": now_ms - KEPT_S * 1000})
