"""Acts on prices that count instead of the list that is shipped. Workers follow within two seconds."""

import re
from typing import Final

import msgspec

from admin.acts.actor import Actor, Difference, Target, audit_row, difference
from admin.acts.errors import Conflict, Invalid, NotFound
from config.clock import Clock
from config.ids import new_id
from config.prices.override import ClassPrices, Dollars, PriceClass
from sql.database import Connection
from sql.repositories import audit, changes, prices
from sql.rows import PriceRow
from sql.stores import Stores

SET: Final = "price.set"
REMOVE: Final = "price.remove"
_MODEL: Final = re.compile(r"[!-~]{1,256}")


async def set_price(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    *,
    provider: str,
    model: str,
    costs: ClassPrices,
    from_ms: int | None = None,
    until_ms: int | None = None,
) -> PriceRow:
    """In the place of the one for the same models from the same time on. The caller has checked that `provider` is
    configured. Raises Invalid, Conflict."""
    now = clock.now_ms()
    new = PriceRow(
        id=new_id(),
        provider=provider,
        model=_model(model),
        from_ms=max(0, from_ms or 0),
        until_ms=until_ms,
        prices=_text(costs),
        updated_at_ms=now,
        updated_by=actor.name,
    )
    if until_ms is not None and until_ms <= new.from_ms:
        raise Conflict("until", "`until` does not lie after `from`")
    async with stores.main.transaction() as tx:
        await changes.hold_order(tx)
        old = await prices.find(tx, provider, new.model, new.from_ms)
        if old is None and len(await prices.read_all(tx)) >= prices.MOST:
            raise Conflict("", f"there are {prices.MOST} prices, the most that is possible; remove some")
        new = msgspec.structs.replace(new, id=old.id) if old else new
        changed = difference(_fields(old), _fields(new))
        if old is not None and changed.is_empty:
            return old
        await prices.put(tx, new)
        await _tell(tx, actor, SET, new, changed if old else Difference(after=_told(_fields(new))), now)
    return new


async def remove_price(stores: Stores, clock: Clock, actor: Actor, price_id: str) -> None:
    """Raises NotFound."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        await changes.hold_order(tx)
        row = await prices.get(tx, price_id)
        if row is None:
            raise NotFound("price")
        await prices.delete(tx, price_id)
        await _tell(tx, actor, REMOVE, row, Difference(before=_told(_fields(row))), now)


def prices_of(row: PriceRow) -> dict[PriceClass, Dollars]:
    """By class, only those that are set; a newer program's classes too."""
    named: dict[PriceClass, Dollars] = msgspec.json.decode(row.prices)
    return named


def _model(model: str) -> str:
    if not _MODEL.fullmatch(model):
        raise Invalid("model", "must be a name or a glob of 1 to 256 visible ASCII characters")
    return model.lower()


def _text(costs: ClassPrices) -> str:
    if costs == ClassPrices():
        raise Invalid("prices", "must name a price")
    return msgspec.json.encode(costs).decode()


def _fields(row: PriceRow | None) -> dict[str, object]:
    """Each class under its name, so that the audit log shows what has changed."""
    costs = dict.fromkeys(ClassPrices.__struct_fields__) | (msgspec.json.decode(row.prices) if row else {})
    if row is None:
        return {"provider": None, "model": None, "from_ms": None, "until_ms": None, **costs}
    return {"provider": row.provider, "model": row.model, "from_ms": row.from_ms, "until_ms": row.until_ms, **costs}


def _told(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


async def _tell(tx: Connection, actor: Actor, action: str, row: PriceRow, changed: Difference, now_ms: int) -> None:
    await changes.append(tx, "prices", row.id, now_ms)
    await audit.append(tx, audit_row(actor, action, Target(kind="price", id=row.id), changed=changed), now_ms)
