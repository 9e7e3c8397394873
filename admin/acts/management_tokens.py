"""Acts on management tokens: programs that may manage, each with no more scopes than it needs.

The secret leaves here once, when it is made or rotated. Nothing remembers these tokens, so nothing has to forget them.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal, get_args

from msgspec import structs

from admin.acts import rules
from admin.acts.actor import Actor, Difference, Target, audit_row
from admin.acts.conflicts import conflicts_as
from admin.acts.errors import Invalid, NotFound, TokenEnded
from admin.acts.timestamps import rfc3339
from config.clock import Clock
from config.ids import TOKEN_PREFIX, new_id, new_token
from sql.database import Connection
from sql.repositories import audit, changes, management_tokens
from sql.rows import ManagementTokenRow
from sql.sealing import hash_token, token_hint
from sql.stores import Stores

Scope = Literal["read", "projects", "tokens", "audit", "pipeline"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PREFIX: Final = f"{TOKEN_PREFIX}mgmt-"  # begins like all our secrets, so whatever masks those masks these
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


async def create_management_token(
    stores: Stores, clock: Clock, actor: Actor, *, name: str, scopes: Iterable[str], duration_ms: int | None
) -> tuple[ManagementTokenRow, str]:
    """The row, and the secret in clear: it cannot be had again. Raises Invalid, Conflict."""
    now, token = clock.now_ms(), _new_secret()
    row = ManagementTokenRow(
        id=new_id(),
        name=_name(name),
        token_hash=hash_token(token),
        hint=_hint(token),
        scopes=" ".join(_scopes(scopes)),
        created_at_ms=now,
        expires_at_ms=rules.expiry_ms(now, duration_ms),
        last_used_at_ms=None,
        revoked_at_ms=None,
    )
    fields = {"name": row.name, "scopes": row.scopes, "expires_at": rfc3339(row.expires_at_ms)}
    with conflicts_as("name", "a management token with this name exists, or did"):
        async with stores.main.transaction() as tx:
            await changes.hold_order(tx)
            await management_tokens.create(tx, row)
            await _tell(tx, actor, "management_token.create", row, Difference(after=fields), now)
    return row, token


async def rotate_management_token(
    stores: Stores, clock: Clock, actor: Actor, token_id: str, *, grace_ms: int
) -> tuple[ManagementTokenRow, str]:
    """Another secret; the old one works until the grace ends. Raises Invalid, NotFound, TokenEnded."""
    now, token = clock.now_ms(), _new_secret()
    until = now + rules.grace_ms(grace_ms)
    async with stores.main.transaction() as tx:
        old = await _locked(tx, token_id)
        if has_ended(old, now):
            raise TokenEnded
        new = structs.replace(
            old,
            token_hash=hash_token(token),
            hint=_hint(token),
            previous_hash=old.token_hash,
            previous_until_ms=until,
        )
        await management_tokens.update(tx, new)
        changed = Difference(before={"token": old.hint}, after={"token": new.hint, "old_until": rfc3339(until)})
        await _tell(tx, actor, "management_token.rotate", new, changed, now)
    return new, token


async def revoke_management_token(stores: Stores, clock: Clock, actor: Actor, token_id: str) -> bool:
    """For good, both secrets of a running rotation. False when it was revoked before. Raises NotFound."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        old = await _locked(tx, token_id)
        if old.revoked_at_ms is not None:
            return False
        await management_tokens.update(tx, structs.replace(old, revoked_at_ms=now))
        changed = Difference(before={"is_active": True}, after={"is_active": False})
        await _tell(tx, actor, "management_token.revoke", old, changed, now)
    return True


def has_ended(row: ManagementTokenRow, now_ms: int) -> bool:
    return row.revoked_at_ms is not None or (row.expires_at_ms is not None and row.expires_at_ms <= now_ms)


def opens(row: ManagementTokenRow, token_hash: str, now_ms: int) -> bool:
    """Whether this secret of the token still counts."""
    in_grace = row.previous_until_ms is not None and row.previous_until_ms > now_ms
    return not has_ended(row, now_ms) and (token_hash == row.token_hash or in_grace)


def _new_secret() -> str:
    return PREFIX + new_token().removeprefix(TOKEN_PREFIX)


def _hint(token: str) -> str:
    return PREFIX + token_hint(token.removeprefix(PREFIX)).removeprefix(TOKEN_PREFIX)


def _name(name: str) -> str:
    if not _NAME.match(name):
        raise Invalid("name", "must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _scopes(scopes: Iterable[str]) -> list[str]:
    """In their own order, each once."""
    wanted = set(scopes)
    if not wanted or wanted - set(SCOPES):
        raise Invalid("scopes", f"must be one or more of {', '.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in wanted]


async def _locked(tx: Connection, token_id: str) -> ManagementTokenRow:
    await changes.hold_order(tx)
    row = await management_tokens.get(tx, token_id)
    if row is None:
        raise NotFound("management token")
    return row


async def _tell(
    tx: Connection, actor: Actor, action: str, row: ManagementTokenRow, changed: Difference, now_ms: int
) -> None:
    target = Target(kind="management_token", id=row.id)
    await audit.append(tx, audit_row(actor, action, target, changed=changed), now_ms)
