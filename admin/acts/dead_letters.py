"""Acts on dead letters: given back to their backend, deleted, or read with what was said in them.

The bus and the audit log share no transaction, so the row comes first: nothing is done that the log does not tell of,
and what then fails gets a second row.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct

from admin.acts.actor import Actor, Difference, Target, audit_row, record_refusal
from bus.dead_letters import DeadLetters, in_chunks
from bus.errors import BusError
from config.clock import Clock
from sql.repositories import audit
from sql.stores import Stores

REPLAY: Final = "backend.replay_letters"
PURGE: Final = "backend.purge_letters"
READ: Final = "backend.read_letter"
AT_MOST: Final = 2000
"""Letters of one act on "all": a few seconds of the bus. The next act takes the next ones."""
_NAMED: Final = 10  # ids in an audit row; of more letters their number tells


class Chosen(Struct, frozen=True, kw_only=True):
    """Letters of one backend."""

    backend: str
    ids: tuple[str, ...]
    reason: str = ""
    """What they were chosen by; empty for any."""


Act = Callable[[Stores, Clock, Actor, DeadLetters, Chosen], Awaitable[int]]


async def replay_letters(stores: Stores, clock: Clock, actor: Actor, bus: DeadLetters, chosen: Chosen) -> int:
    """Their events go to their own backend again; returns how many were there.

    Raises BusUnavailable: some may be done, a second act does the rest.
    """
    return await _done(stores, clock, actor, REPLAY, bus.replay_letters, chosen)


async def purge_letters(stores: Stores, clock: Clock, actor: Actor, bus: DeadLetters, chosen: Chosen) -> int:
    """For good; the ledger counts them. Otherwise as `replay_letters`."""
    return await _done(stores, clock, actor, PURGE, bus.purge_letters, chosen)


async def tell_of_reading(stores: Stores, clock: Clock, actor: Actor, backend: str, letter_id: str) -> None:
    """What people said is not looked at unseen: before it is shown."""
    await _tell(stores, clock, actor, READ, backend, {"id": letter_id})


async def _done(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    action: str,
    act: Callable[[str, Sequence[str]], Awaitable[int]],
    chosen: Chosen,
) -> int:
    await _tell(stores, clock, actor, action, chosen.backend, _fields(chosen))
    try:
        return await in_chunks(lambda some: act(chosen.backend, some), chosen.ids)
    except BusError as error:
        target, told = Target(kind="backend", id=chosen.backend), f"not done, or in part: {error}"
        await record_refusal(stores, clock, actor, action, target, outcome="failure", reason=told)
        raise


def _fields(chosen: Chosen) -> dict[str, object]:
    fields: dict[str, object] = {"letters": len(chosen.ids)}
    if len(chosen.ids) <= _NAMED:
        fields["ids"] = ", ".join(chosen.ids)
    return {**fields, "reason": chosen.reason} if chosen.reason else fields


async def _tell(
    stores: Stores, clock: Clock, actor: Actor, action: str, backend: str, fields: dict[str, object]
) -> None:
    row = audit_row(actor, action, Target(kind="backend", id=backend), changed=Difference(after=fields))
    async with stores.main.transaction() as tx:
        await audit.append(tx, row, clock.now_ms())
