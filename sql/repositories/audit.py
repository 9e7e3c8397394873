"""The audit log, a chain of hashes: each row's hash covers its content, its place and the hash before it.

    hash = sha256(prev_hash + canonical JSON of all other columns)

Altered, removed and reordered rows break it, and `audit_head` tells when rows were cut off at the end.
"""

import hashlib
from typing import Final

import msgspec

from config.ids import new_id
from sql.database import Connection, Row
from sql.repositories.changes import hold_order
from sql.rows import AuditFilter, AuditRow, NewAudit
from sql.statements import load
from sql.values import as_row, pattern, without_nul

_Q = load("audit")
GENESIS: Final = "0" * 64
_CHAIN_PAGE: Final = 500
_BEFORE_ALL: Final = -(2**63)  # a row that was put before the first is not passed over
_CHAIN = ("prev_hash", "hash")


async def append(on: Connection, event: NewAudit, at_ms: int) -> AuditRow:
    """Takes its place in the chain under a lock that lasts until the transaction of `on` ends."""
    async with on.transaction() as transaction:
        await hold_order(transaction)
        head = await transaction.fetch_one(_Q.head, {})
        row = _linked(event, at_ms, head)
        await transaction.execute(_Q.append, msgspec.structs.asdict(row))
        await transaction.execute(_Q.move_head, {"seq": row.seq, "hash": row.hash})
    return row


async def get(on: Connection, audit_id: str) -> AuditRow | None:
    row = await on.fetch_one(_Q.get, {"id": audit_id})
    return as_row(AuditRow, row) if row else None


async def list_page(
    on: Connection, chosen: AuditFilter, *, before: tuple[int, str] | None = None, limit: int, offset: int = 0
) -> list[AuditRow]:
    """Newest first. `before` is (seq, id) of the last row of the page before."""
    params = {**_filter(chosen), "before_seq": before[0] if before else None, "limit": limit, "offset": offset}
    return [as_row(AuditRow, row) for row in await on.fetch_all(_Q.list_page, params)]


async def count(on: Connection, chosen: AuditFilter) -> int:
    row = await on.fetch_one(_Q.count, _filter(chosen))
    return int(row["n"]) if row else 0


async def verify(on: Connection) -> int | None:
    """The first place in the chain that is broken or missing; None when all is whole. Reads every row."""
    head = await on.fetch_one(_Q.head, {})  # first, so that rows appended meanwhile are not taken for missing
    seq, prev_hash, after_seq = 0, GENESIS, _BEFORE_ALL
    while rows := await on.fetch_all(_Q.chain_page, {"after_seq": after_seq, "limit": _CHAIN_PAGE}):
        for found in rows:
            row = as_row(AuditRow, found)
            if row.seq != seq + 1 or row.prev_hash != prev_hash or row.hash != chain_hash(row):
                return seq + 1
            if head and row.seq == head["seq"] and row.hash != head["hash"]:
                return row.seq
            seq, prev_hash = row.seq, row.hash
        after_seq = seq
    if head is None and seq:  # these rows were appended meanwhile, or somebody took the head away
        return None if await on.fetch_one(_Q.head, {}) else seq + 1
    return seq + 1 if head and head["seq"] > seq else None


def chain_hash(row: AuditRow) -> str:
    content = {name: value for name, value in msgspec.structs.asdict(row).items() if name not in _CHAIN}
    return hashlib.sha256(row.prev_hash.encode() + msgspec.json.encode(content, order="sorted")).hexdigest()


def _linked(event: NewAudit, at_ms: int, head: Row | None) -> AuditRow:
    seq, prev_hash = (head["seq"] + 1, head["hash"]) if head else (1, GENESIS)
    content = {name: without_nul(value) for name, value in msgspec.structs.asdict(event).items()}
    row = AuditRow(id=new_id(), seq=seq, at_ms=at_ms, prev_hash=prev_hash, hash="", **content)
    return msgspec.structs.replace(row, hash=chain_hash(row))


def _filter(chosen: AuditFilter) -> dict[str, object]:
    params = msgspec.structs.asdict(chosen)
    return {**params, "pattern": pattern(params.pop("search"))}
