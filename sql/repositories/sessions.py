"""Sessions of the admin's browsers, by the hash of their cookie."""

import msgspec

from sql.database import Connection
from sql.rows import SessionRow
from sql.statements import load
from sql.values import as_row

_Q = load("sessions")


async def create(on: Connection, row: SessionRow) -> None:
    await on.execute(_Q.create, msgspec.structs.asdict(row))


async def get(on: Connection, id_hash: str) -> SessionRow | None:
    """An expired one too, as long as it is there."""
    row = await on.fetch_one(_Q.get, {"id_hash": id_hash})
    return as_row(SessionRow, row) if row else None


async def touch(on: Connection, id_hash: str, now_ms: int) -> None:
    await on.execute(_Q.touch, {"id_hash": id_hash, "now_ms": now_ms})


async def delete(on: Connection, id_hash: str) -> bool:
    return await on.execute(_Q.delete, {"id_hash": id_hash}) > 0


async def delete_expired(on: Connection, now_ms: int) -> int:
    return await on.execute(_Q.delete_expired, {"now_ms": now_ms})
