"""The policy document: one row, whose version grows with each change."""

from typing import Final

import msgspec

from sql.database import Connection
from sql.rows import PolicyRow
from sql.statements import load
from sql.values import as_row

LIMITS: Final = "limits"
"""Id of the only row, and key of the change that tells of it."""
_Q = load("policies")


async def read(on: Connection) -> PolicyRow | None:
    """None when there has never been one."""
    row = await on.fetch_one(_Q.get, {"id": LIMITS})
    return as_row(PolicyRow, row) if row else None


async def write(on: Connection, row: PolicyRow, expected_version: int) -> bool:
    """In the place of the one with `expected_version`, 0 for none. False when it is another one by now."""
    params = msgspec.structs.asdict(row)
    if expected_version == 0:
        return await on.execute(_Q.create, params) > 0
    return await on.execute(_Q.update, {**params, "expected_version": expected_version}) > 0
