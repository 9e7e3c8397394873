"""Acts on projects. Each is one transaction of rows, audit and change, so that none of them is without the others."""

from msgspec import structs

from admin.acts import rules
from admin.acts.actor import Actor, Difference, Target, audit_row, difference
from admin.acts.api_keys import key_fields, new_api_key, replace_default_key
from admin.acts.conflicts import conflicts_as
from admin.acts.errors import Invalid
from admin.acts.locked import locked_project
from admin.acts.tokens import revoke_tokens_of
from config.clock import Clock
from config.ids import new_id
from config.secret import Secret
from sql.database import Connection
from sql.repositories import api_keys, audit, changes, projects
from sql.rows import OnDisconnect, ProjectRow, Recording
from sql.stores import Stores


async def create_project(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    *,
    name: str,
    api_key: Secret | None,
    recording: Recording = "full",
    on_disconnect: OnDisconnect = "cancel",
    provider: str = "",
) -> ProjectRow:
    """`api_key` is a key of `provider`, the default provider's name. Raises Invalid, Conflict."""
    now = clock.now_ms()
    row = ProjectRow(
        id=new_id(),
        name=rules.project_name(name),
        is_active=True,
        recording=recording,
        created_at_ms=now,
        updated_at_ms=now,
        deactivated_at_ms=None,
        on_disconnect=on_disconnect,
    )
    key = new_api_key(row.id, provider, rules.api_key(api_key), 1, now) if api_key is not None else None
    shown = {**_fields(row), **({"api_key": key_fields(key)["key"], "provider": provider} if key else {})}
    with conflicts_as("name", "a project with this name exists"):
        async with stores.main.transaction() as tx:
            await projects.create(tx, row)
            if key is not None:
                await api_keys.create(tx, stores.sealer, key)
            await _tell(tx, actor, "project.create", row, Difference(after=shown), now)
    return row


async def update_project(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    project_id: str,
    *,
    name: str | None = None,
    is_active: bool | None = None,
    recording: Recording | None = None,
    on_disconnect: OnDisconnect | None = None,
    api_key: Secret | None = None,
    revoke_tokens: bool = False,
    provider: str = "",
) -> ProjectRow:
    """None leaves a field as it is; what changes nothing leaves no trace.

    `api_key` replaces the oldest key of `provider`. Raises Invalid, NotFound, Conflict.
    """
    if revoke_tokens and is_active is not False:
        raise Invalid("revoke_tokens", "requires is_active=false")
    now = clock.now_ms()
    new_key = rules.api_key(api_key) if api_key is not None else None
    with conflicts_as("name", "a project with this name exists"):
        async with stores.main.transaction() as tx:
            old = await locked_project(tx, project_id)
            new = structs.replace(
                _changed(old, name, is_active, recording, now), on_disconnect=on_disconnect or old.on_disconnect
            )
            changed = difference(_fields(old), _fields(new))
            if new_key is not None:
                changed = _both(changed, await replace_default_key(tx, stores.sealer, old.id, provider, new_key, now))
            if revoke_tokens:
                changed = _both(changed, await _revoked(tx, old.id, now))
            if changed.is_empty:
                return old
            new = structs.replace(new, updated_at_ms=now)
            await projects.update(tx, new)
            await _tell(tx, actor, "project.update", new, changed, now)
    return new


def _changed(
    old: ProjectRow, name: str | None, is_active: bool | None, recording: Recording | None, now_ms: int
) -> ProjectRow:
    active = old.is_active if is_active is None else is_active
    return structs.replace(
        old,
        name=old.name if name is None else rules.project_name(name),
        is_active=active,
        recording=recording or old.recording,
        deactivated_at_ms=None if active else (old.deactivated_at_ms or now_ms),
    )


async def _revoked(tx: Connection, project_id: str, now_ms: int) -> Difference:
    revoked = len(await revoke_tokens_of(tx, project_id, now_ms))
    return Difference(after={"tokens_revoked": revoked}) if revoked else Difference()


async def _tell(tx: Connection, actor: Actor, action: str, row: ProjectRow, changed: Difference, now_ms: int) -> None:
    await changes.append(tx, "project", row.id, now_ms)
    target = Target(kind="project", id=row.id, project_id=row.id)
    await audit.append(tx, audit_row(actor, action, target, changed=changed), now_ms)


def _fields(row: ProjectRow) -> dict[str, object]:
    """What the audit log shows of a project."""
    return {
        "name": row.name,
        "is_active": row.is_active,
        "recording": row.recording,
        "on_disconnect": row.on_disconnect,
    }


def _both(one: Difference, other: Difference) -> Difference:
    return Difference(
        before={**(one.before or {}), **(other.before or {})}, after={**(one.after or {}), **(other.after or {})}
    )
