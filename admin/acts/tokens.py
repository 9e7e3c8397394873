"""Acts on tokens. A token itself leaves here once, when made or rotated; what is kept is its SHA-256 and a hint."""

from msgspec import UNSET, Struct, UnsetType, structs

from admin.acts import rules
from admin.acts.actor import Actor, Difference, Target, audit_row, difference
from admin.acts.errors import ProjectInactive, TokenEnded
from admin.acts.locked import locked_project, locked_token
from admin.acts.timestamps import rfc3339
from config.clock import Clock
from config.ids import new_id, new_token
from sql.database import Connection
from sql.repositories import audit, changes, tokens
from sql.rows import TokenHashes, TokenRow
from sql.sealing import hash_token, token_hint
from sql.stores import Stores


class RevokedCount(Struct, frozen=True):
    revoked: int
    already_revoked: int
    total: int


async def create_token(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    *,
    project_id: str,
    duration_ms: int | None,
    max_requests: int | None,
) -> tuple[TokenRow, str]:
    """The row, and the token in clear: it cannot be had again. Raises Invalid, NotFound, ProjectInactive."""
    now = clock.now_ms()
    token = new_token()
    row = TokenRow(
        id=new_id(),
        project_id=project_id,
        token_hash=hash_token(token),
        hint=token_hint(token),
        is_active=True,
        expires_at_ms=rules.expiry_ms(now, duration_ms),
        max_requests=rules.max_requests(max_requests),
        request_count=0,
        cache_hit_count=0,
        created_at_ms=now,
        last_used_at_ms=None,
        deactivated_at_ms=None,
    )
    async with stores.main.transaction() as tx:
        if not (await locked_project(tx, project_id)).is_active:
            raise ProjectInactive
        await tokens.create(tx, row)
        await _tell(tx, actor, "token.create", row, Difference(after=_fields(row)), now)
    return row, token


async def update_token(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    token_id: str,
    *,
    is_active: bool | None = None,
    max_requests: int | UnsetType | None = UNSET,
    expires_at_ms: int | UnsetType | None = UNSET,
) -> TokenRow:
    """What is not given stays, and so do the counts: a reactivated token goes on where it stopped.

    Raises Invalid, NotFound.
    """
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        old = await locked_token(tx, token_id)
        active = old.is_active if is_active is None else is_active
        new = structs.replace(
            old,
            is_active=active,
            deactivated_at_ms=None if active else (old.deactivated_at_ms or now),
            max_requests=old.max_requests if isinstance(max_requests, UnsetType) else rules.max_requests(max_requests),
            expires_at_ms=(
                old.expires_at_ms if isinstance(expires_at_ms, UnsetType) else rules.expires_at_ms(expires_at_ms)
            ),
        )
        changed = difference(_fields(old), _fields(new))
        if changed.is_empty:
            return old
        await tokens.update(tx, new)
        await _tell(tx, actor, "token.update", new, changed, now)
    return new


async def rotate_token(
    stores: Stores, clock: Clock, actor: Actor, token_id: str, *, grace_ms: int
) -> tuple[TokenRow, str]:
    """Another secret for the same token, which keeps its id, quota and history; the old one works until the grace ends.

    A grace that still ran from the rotation before ends now. Raises Invalid, NotFound, TokenEnded.
    """
    now = clock.now_ms()
    token, until = new_token(), now + rules.grace_ms(grace_ms)
    async with stores.main.transaction() as tx:
        old = await locked_token(tx, token_id)
        if not old.is_active or (old.expires_at_ms is not None and old.expires_at_ms <= now):
            raise TokenEnded
        new = structs.replace(
            old,
            token_hash=hash_token(token),
            hint=token_hint(token),
            previous_hash=old.token_hash,
            previous_until_ms=until,
        )
        await tokens.rotate(tx, new)
        if old.previous_hash:
            await changes.append(tx, "token", old.previous_hash, now)
        changed = Difference(before={"token": old.hint}, after={"token": new.hint, "old_until": rfc3339(until)})
        await _tell(tx, actor, "token.rotate", new, changed, now)
    return new, token


async def revoke_token(stores: Stores, clock: Clock, actor: Actor, token_id: str) -> bool:
    """False when it was revoked before: nothing has changed then. Raises NotFound."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        old = await locked_token(tx, token_id)
        if not old.is_active:
            return False
        await tokens.revoke(tx, token_id, now)
        changed = Difference(before={"is_active": True}, after={"is_active": False})
        await _tell(tx, actor, "token.revoke", old, changed, now)
    return True


async def revoke_all(stores: Stores, clock: Clock, actor: Actor, project_id: str) -> RevokedCount:
    """Every token of a project. Raises NotFound."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        await locked_project(tx, project_id)
        revoked = len(await revoke_tokens_of(tx, project_id, now))
        total = await tokens.count(tx, project_id=project_id, is_active=None, is_expired=None, now_ms=now)
        if revoked:
            target = Target(kind="project", id=project_id, project_id=project_id)
            changed = Difference(after={"tokens_revoked": revoked})
            await audit.append(tx, audit_row(actor, "token.revoke_batch", target, changed=changed), now)
    return RevokedCount(revoked=revoked, already_revoked=total - revoked, total=total)


async def revoke_tokens_of(tx: Connection, project_id: str, now_ms: int) -> list[TokenHashes]:
    """Revokes and signals; the caller audits. Returns the hashes of the tokens that were active."""
    revoked = await tokens.revoke_all(tx, project_id, now_ms)
    hashes = [known for one in revoked for known in (one.token_hash, one.previous_hash) if known]
    await changes.append_many(tx, "token", hashes, now_ms)
    return revoked


async def _tell(tx: Connection, actor: Actor, action: str, row: TokenRow, changed: Difference, now_ms: int) -> None:
    hashes = [known for known in (row.token_hash, row.previous_hash) if known]
    await changes.append_many(tx, "token", hashes, now_ms)
    target = Target(kind="token", id=row.id, project_id=row.project_id, token_id=row.id)
    await audit.append(tx, audit_row(actor, action, target, changed=changed), now_ms)


def _fields(row: TokenRow) -> dict[str, object]:
    """What the audit log shows of a token."""
    return {"is_active": row.is_active, "max_requests": row.max_requests, "expires_at": rfc3339(row.expires_at_ms)}
