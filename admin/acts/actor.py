"""Who acts, and how that enters the audit log.

An act builds its audit row with `audit_row` and appends it in its own transaction. What is refused before an act
begins is told with `record_refusal`. Nothing that looks like a token or an API key gets into a row in clear.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from config.clock import Clock
from config.secret import obfuscate
from sql.repositories import audit
from sql.rows import AuditRow, NewAudit, Outcome
from sql.stores import Stores

_MAX_CHARS = 512  # of a path, user agent or reason: enough to recognise it, too little to fill a disk
_SECRET = re.compile(r"\bsk-[A-Za-z0-9_-]{8,}")


class Actor(Struct, frozen=True, kw_only=True):
    """The doer of an act; `name` is `management_token`, `cli`, ..., the rest is where the request came from."""

    name: str
    client_ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    method: str | None = None
    path: str | None = None
    reason: str | None = None
    """What the doer says why; stands in each row of the act that has no reason of its own."""


class Target(Struct, frozen=True, kw_only=True):
    """What an act is about."""

    kind: str
    id: str = ""
    project_id: str | None = None
    token_id: str | None = None


class Difference(Struct, frozen=True, kw_only=True):
    """The changed fields, as they were and as they are; secrets come in masked."""

    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None

    @property
    def is_empty(self) -> bool:
        return not self.before and not self.after


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> Difference:
    """Only what differs; both sides have the same names."""
    changed = [name for name, value in after.items() if before[name] != value]
    return Difference(before={n: before[n] for n in changed}, after={n: after[n] for n in changed})


def audit_row(
    actor: Actor,
    action: str,
    target: Target,
    *,
    outcome: Outcome = "success",
    changed: Difference | None = None,
    reason: str | None = None,
) -> NewAudit:
    """The row that tells of an act."""
    changed = changed or Difference()
    return NewAudit(
        action=action,
        actor=actor.name,
        outcome=outcome,
        object_kind=target.kind,
        object_id=_clean(target.id) or "",
        project_id=_clean(target.project_id),
        token_id=_clean(target.token_id),
        request_id=actor.request_id,
        client_ip=actor.client_ip,
        method=_clean(actor.method),
        path=_clean(actor.path),
        user_agent=_clean(actor.user_agent),
        reason=_clean(reason or actor.reason),
        before=_json(changed.before),
        after=_json(changed.after),
    )


async def record_refusal(
    stores: Stores, clock: Clock, actor: Actor, action: str, target: Target, *, outcome: Outcome, reason: str
) -> AuditRow:
    """Tells of an attempt that changed nothing: `denied` (not allowed) or `failure` (not possible)."""
    row = audit_row(actor, action, target, outcome=outcome, reason=reason)
    async with stores.main.transaction() as tx:
        return await audit.append(tx, row, clock.now_ms())


def masked(text: str) -> str:
    """Without what looks like a token or an API key."""
    return _SECRET.sub(lambda found: obfuscate(found[0]), text)


def _clean(text: str | None) -> str | None:
    """Cut to size, secrets masked, and without what a database refuses (NUL, halves of surrogate pairs)."""
    if text is None:
        return None
    return masked(text)[:_MAX_CHARS].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _json(fields: Mapping[str, object] | None) -> str | None:
    return msgspec.json.encode(fields).decode() if fields else None
