"""Sign-ins and sign-outs of browsers in the audit log; what is refused goes by `refusals.py`."""

from admin.acts.actor import Actor, Target, audit_row
from config.clock import Clock
from sql.repositories import audit
from sql.stores import Stores


async def record_sign_in(stores: Stores, clock: Clock, actor: Actor) -> None:
    await _append(stores, clock, actor, "admin.login")


async def record_sign_out(stores: Stores, clock: Clock, actor: Actor) -> None:
    await _append(stores, clock, actor, "admin.logout")


async def _append(stores: Stores, clock: Clock, actor: Actor, action: str) -> None:
    row = audit_row(actor, action, Target(kind="session"))
    async with stores.main.transaction() as tx:
        await audit.append(tx, row, clock.now_ms())
