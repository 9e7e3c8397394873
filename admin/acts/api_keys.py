"""Acts on a project's API keys, the providers' secrets that its tokens stand for. Shown obfuscated in the audit too."""

from msgspec import structs

from admin.acts import rules
from admin.acts.actor import Actor, Difference, Target, audit_row, difference
from admin.acts.errors import Conflict, NotFound
from admin.acts.locked import locked_project
from config.clock import Clock
from config.ids import new_id
from config.secret import Secret, obfuscate
from sql.database import Connection
from sql.repositories import api_keys, audit, changes
from sql.rows import ApiKeyRow
from sql.sealing import Sealer
from sql.stores import Stores


async def add_api_key(
    stores: Stores, clock: Clock, actor: Actor, project_id: str, *, provider: str, key: Secret, weight: int = 1
) -> ApiKeyRow:
    """The caller has checked that `provider` is configured. Raises Invalid, NotFound, Conflict."""
    now = clock.now_ms()
    row = new_api_key(project_id, provider, rules.api_key(key, "key"), rules.weight(weight), now)
    async with stores.main.transaction() as tx:
        await locked_project(tx, project_id)
        await refuse_twice(tx, stores.sealer, row)
        await api_keys.create(tx, stores.sealer, row)
        await tell(tx, actor, "api_key.create", row, Difference(after=key_fields(row)), now)
    return row


async def update_api_key(
    stores: Stores,
    clock: Clock,
    actor: Actor,
    project_id: str,
    key_id: str,
    *,
    key: Secret | None = None,
    weight: int | None = None,
) -> ApiKeyRow:
    """None leaves a field as it is. Raises Invalid, NotFound, Conflict."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        await locked_project(tx, project_id)
        old = await the_key(tx, stores.sealer, project_id, key_id)
        if old.replaced_by:
            raise Conflict("key_id", "this key has been replaced and waits to be deleted; undo the rotation instead")
        new = structs.replace(
            old,
            key=old.key if key is None else rules.api_key(key, "key"),
            weight=old.weight if weight is None else rules.weight(weight),
        )
        if new == old:
            return old
        if new.key != old.key:
            await refuse_twice(tx, stores.sealer, new)
        new = structs.replace(new, updated_at_ms=now)
        await api_keys.update(tx, stores.sealer, new)
        changed = difference({**key_fields(old), "key": old.key}, {**key_fields(new), "key": new.key})
        await tell(tx, actor, "api_key.update", new, _masked(changed), now)
    return new


async def remove_api_key(stores: Stores, clock: Clock, actor: Actor, project_id: str, key_id: str) -> None:
    """Raises NotFound."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        await locked_project(tx, project_id)
        row = await the_key(tx, stores.sealer, project_id, key_id)
        await api_keys.delete(tx, key_id, project_id)
        await tell(tx, actor, "api_key.delete", row, Difference(before=key_fields(row)), now)


async def replace_default_key(
    tx: Connection, sealer: Sealer, project_id: str, provider: str, key: Secret, now_ms: int
) -> Difference:
    """The API's `api_key` of a project: its oldest key of the default provider. The caller tells of it."""
    rows = await api_keys.for_project(tx, sealer, project_id)
    if any(row.provider == provider and row.key == key for row in rows):
        return Difference()
    old = next((row for row in rows if row.provider == provider and not row.replaced_by), None)
    if old is None:
        await api_keys.create(tx, sealer, new_api_key(project_id, provider, key, 1, now_ms))
        return Difference(after={"api_key": obfuscate(key.reveal())})
    await api_keys.update(tx, sealer, structs.replace(old, key=key, updated_at_ms=now_ms))
    return Difference(before={"api_key": obfuscate(old.key.reveal())}, after={"api_key": obfuscate(key.reveal())})


def new_api_key(project_id: str, provider: str, key: Secret, weight: int, now_ms: int) -> ApiKeyRow:
    if not provider:
        raise ValueError("an API key needs its provider's name")
    return ApiKeyRow(
        id=new_id(),
        project_id=project_id,
        provider=provider,
        key=key,
        weight=weight,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )


def key_fields(row: ApiKeyRow) -> dict[str, object]:
    """What the audit log shows of a key."""
    return {"provider": row.provider, "key": obfuscate(row.key.reveal()), "weight": row.weight}


def _masked(changed: Difference) -> Difference:
    """Keys are compared in clear, since two may look the same obfuscated, and only then hidden."""
    return Difference(before=_hidden(changed.before), after=_hidden(changed.after))


def _hidden(fields: object) -> dict[str, object]:
    items = fields.items() if isinstance(fields, dict) else ()
    return {name: obfuscate(value.reveal()) if isinstance(value, Secret) else value for name, value in items}


async def the_key(tx: Connection, sealer: Sealer, project_id: str, key_id: str) -> ApiKeyRow:
    """Raises NotFound."""
    row = await api_keys.get(tx, sealer, key_id)
    if row is None or row.project_id != project_id:
        raise NotFound("API key")
    return row


async def refuse_twice(tx: Connection, sealer: Sealer, new: ApiKeyRow) -> None:
    """Sealed keys differ although they are the same, so no unique index can do this."""
    for row in await api_keys.for_project(tx, sealer, new.project_id):
        if row.id != new.id and row.provider == new.provider and row.key == new.key:
            raise Conflict("key", "the project has this key already")


async def tell(tx: Connection, actor: Actor, action: str, row: ApiKeyRow, changed: Difference, now_ms: int) -> None:
    await changes.append(tx, "project", row.project_id, now_ms)
    target = Target(kind="api_key", id=row.id, project_id=row.project_id)
    await audit.append(tx, audit_row(actor, action, target, changed=changed), now_ms)
