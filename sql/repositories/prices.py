"""Prices that count instead of those that are shipped: few rows, which are always read together."""

from typing import Final

import msgspec

from sql.database import Connection
from sql.rows import PriceRow
from sql.statements import load
from sql.values import as_row

MOST: Final = 1000
"""Rows: each worker holds them all."""
_Q = load("prices")


async def read_all(on: Connection) -> list[PriceRow]:
    """By provider, model and time."""
    return [as_row(PriceRow, row) for row in await on.fetch_all(_Q.list_page, {"limit": MOST})]


async def get(on: Connection, price_id: str) -> PriceRow | None:
    row = await on.fetch_one(_Q.get, {"id": price_id})
    return as_row(PriceRow, row) if row else None


async def find(on: Connection, provider: str, model: str, from_ms: int) -> PriceRow | None:
    row = await on.fetch_one(_Q.find, {"provider": provider, "model": model, "from_ms": from_ms})
    return as_row(PriceRow, row) if row else None


async def put(on: Connection, row: PriceRow) -> None:
    """Provider, model and `from_ms` of a row that is there stay. Raises Conflict where another row has these three."""
    await on.execute(_Q.add, msgspec.structs.asdict(row))


async def delete(on: Connection, price_id: str) -> bool:
    return await on.execute(_Q.delete, {"id": price_id}) > 0
