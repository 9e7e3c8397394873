"""The ledger: per backend, is every recorded event delivered, dead, still to come, or counted as gone?

One half are the bus's counts, the other the relay's. They are taken one after the other while events flow: what the bus
has more than the relay knew of at first must be what the relay knows of a moment later.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bus.bus import BusStats, GroupStats


class Account(Struct, frozen=True):
    """recorded = delivered + dead + pending + waiting + parked + purged + earlier + lost + dropped + missing."""

    backend: str
    recorded: int
    delivered: int
    dead: int
    pending: int
    """Handed out or to be tried again."""
    waiting: int
    """Not handed out yet."""
    parked: int
    """On a dispatcher's disk, since the backend was away for long."""
    purged: int
    """Dead letters that a person deleted."""
    earlier: int
    """Gone before this backend's group was made; negative: handed out again to a group that had been lost, or both
    parked and on the bus, since its dispatcher died between the two."""
    lost: int
    """Taken by damage, of the spool, of a parking lot, or of a bus that lost what the spools had deleted."""
    dropped: int
    """Found no room."""
    missing: int
    """What nothing accounts for; below 0: counted twice."""


class Ledger(Struct, frozen=True):
    accounts: tuple[Account, ...]
    relay_missing: int
    """Events that the relay gave to the bus and that the bus does not know of (above 0), or the other way round."""

    @property
    def closes(self) -> bool:
        return not self.relay_missing and not any(account.missing for account in self.accounts)


def ledger_of(bus: BusStats, before: Mapping[str, Any], after: Mapping[str, Any], *, is_shared: bool) -> Ledger:
    """`before` and `after`: the relay's counts on either side of the bus's; empty without a relay.

    A shared bus has events of other hosts' relays: there only the bus's own side is judged.
    """
    lost, dropped = _lost(before), sum(before.get("dropped", {}).values())
    relay_missing = 0
    if before and not is_shared:
        fewest, most = sorted((_given(before), _given(after)))
        relay_missing = max(0, fewest - bus.appended) - max(0, bus.appended - most)
    accounts = (_account(group, bus.appended, lost, dropped) for group in bus.groups)
    return Ledger(tuple(accounts), relay_missing)


def _account(group: GroupStats, appended: int, lost: int, dropped: int) -> Account:
    known = group.delivered + group.dead + group.pending + group.lag + group.purged + group.earlier
    known += group.parked + group.lost
    return Account(
        backend=group.name,
        recorded=appended + lost + dropped,
        delivered=group.delivered,
        dead=group.dead,
        pending=group.pending,
        waiting=group.lag,
        parked=group.parked,
        purged=group.purged,
        earlier=group.earlier,
        lost=lost + group.lost,
        dropped=dropped,
        missing=appended - known,
    )


def _lost(relay: Mapping[str, Any]) -> int:
    return int(relay.get("lost", 0) + relay.get("unrecoverable", 0))


def _given(relay: Mapping[str, Any]) -> int:
    return int(relay["recorded"]) - _lost(relay)
