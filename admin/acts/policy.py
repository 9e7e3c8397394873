"""Acts on the policy document: checked, written in the place of what was read, audited by what changed in it.

The document is kept as it was written, without defaults, so that who reads it finds it again.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from admin.acts.actor import Actor, Difference, Target, audit_row
from admin.acts.errors import Conflict, InvalidDocument, NotFound
from admin.acts.policy_changes import Document, told
from config.clock import Clock
from config.errors import ConfigError
from config.policy import Policy, read_policy
from sql.database import Connection
from sql.repositories import audit, changes, policies
from sql.rows import PolicyRow
from sql.stores import Stores

UPDATE: Final = "policy.update"
_TOLD_AT_ONCE: Final = 50  # mistakes; whoever has more has sent something else
_STRUCTURE: Final = re.compile(r"(?P<fault>.*?)(?: - at `(?P<key>key` in `)?\$\.?(?P<place>[^`]*)`)?", re.DOTALL)
_MEANING: Final = re.compile(r"(?P<place>(?:limits|models)(?:\[\d+\])?):? (?P<fault>.*)", re.DOTALL)


def document_of(row: PolicyRow | None) -> dict[str, Any]:
    """Empty when there has never been one: nothing is limited."""
    document: dict[str, Any] = msgspec.json.decode(row.document) if row else {}
    return document


def checked(document: Document) -> Policy:
    """Raises InvalidDocument with all mistakes."""
    try:
        return read_policy(document)
    except ConfigError as error:
        raise InvalidDocument(_by_place(error.mistakes)) from error


async def change_policy(
    stores: Stores, clock: Clock, actor: Actor, document: Document, *, expected_version: int
) -> PolicyRow:
    """The whole document, in the place of that version (0: of none). Raises InvalidDocument, Conflict."""
    return await _change(stores, clock, actor, lambda _: document, expected_version)


async def put_limit(stores: Stores, clock: Clock, actor: Actor, limit: Document) -> PolicyRow:
    """In the place of the one of its name, or as the last one. Raises InvalidDocument."""

    def edited(old: Document) -> Document:
        limits = list(old.get("limits", []))
        names = [each["name"] for each in limits]
        at = names.index(limit.get("name")) if limit.get("name") in names else len(limits)
        return {**old, "limits": [*limits[:at], limit, *limits[at + 1 :]]}

    return await _change(stores, clock, actor, edited)


async def remove_limit(stores: Stores, clock: Clock, actor: Actor, name: str) -> PolicyRow:
    """Raises NotFound."""

    def edited(old: Document) -> Document:
        left = [limit for limit in old.get("limits", []) if limit["name"] != name]
        if len(left) == len(old.get("limits", [])):
            raise NotFound("limit")
        return {**old, "limits": left}

    return await _change(stores, clock, actor, edited)


async def _change(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    edited: Callable[[Document], Document],
    expected_version: int | None = None,
) -> PolicyRow:
    """What changes nothing leaves no trace."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        await changes.hold_order(tx)
        row = await policies.read(tx)
        version = row.version if row else 0
        if expected_version is not None and expected_version != version:
            raise _changed_meanwhile(version, expected_version)
        old = document_of(row)
        new = edited(old)
        checked(new)
        if row is not None and new == old:
            return row
        text = msgspec.json.encode(new).decode()
        row = PolicyRow(version=version + 1, document=text, updated_at_ms=now, updated_by=actor.name)
        if not await policies.write(tx, row, version):  # by something that is no act
            raise _changed_meanwhile(version + 1, version)
        await _tell(tx, actor, row, told(old, new), now)
    return row


async def _tell(tx: Connection, actor: Actor, row: PolicyRow, changed: Difference, now_ms: int) -> None:
    await changes.append(tx, "policy", row.id, now_ms)
    versions = Difference(
        before={"version": row.version - 1, **(changed.before or {})},
        after={"version": row.version, **(changed.after or {})},
    )
    await audit.append(tx, audit_row(actor, UPDATE, Target(kind="policy", id=row.id), changed=versions), now_ms)


def _changed_meanwhile(version: int, expected: int) -> Conflict:
    return Conflict(
        "version", f"the policy was changed meanwhile: it has version {version}, not {expected}; read it again"
    )


def _by_place(mistakes: Iterable[str]) -> dict[str, str]:
    """Those of one place together, in their order."""
    faults: dict[str, list[str]] = {}
    told_of = list(mistakes)
    for mistake in told_of[:_TOLD_AT_ONCE]:
        found = _MEANING.fullmatch(mistake) or _STRUCTURE.fullmatch(mistake)
        place, fault = (found["place"] or "", found["fault"]) if found else ("", mistake)
        faults.setdefault(place, []).append(fault[:1].lower() + fault[1:])
    if len(told_of) > _TOLD_AT_ONCE:
        faults.setdefault("", []).append(f"and {len(told_of) - _TOLD_AT_ONCE} more mistakes")
    return {place: "; ".join(found) for place, found in faults.items()}
