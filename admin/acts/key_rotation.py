"""An API key's place is taken by another: at once, with the old one kept for a while in case the new one does not work.

The old key keeps its row with weight 0, so no call goes out with it, until it retires; then the next rotation of any
key deletes it, or the dispatcher's housekeeping. Until then the rotation can be undone.
"""

from msgspec import structs

from admin.acts import rules
from admin.acts.actor import Actor, Difference
from admin.acts.api_keys import key_fields, new_api_key, refuse_twice, tell, the_key
from admin.acts.errors import Conflict, NotUndoable
from admin.acts.locked import locked_project
from admin.acts.timestamps import rfc3339
from config.clock import Clock
from config.secret import Secret
from sql.repositories import api_keys
from sql.rows import ApiKeyRow
from sql.stores import Stores


async def rotate_api_key(
    stores: Stores, clock: Clock, actor: Actor, project_id: str, key_id: str, *, key: Secret, grace_ms: int
) -> ApiKeyRow:
    """The new key, with the old one's weight. Raises Invalid, NotFound, Conflict."""
    now = clock.now_ms()
    retires = now + rules.grace_ms(grace_ms)
    async with stores.main.transaction() as tx:
        await locked_project(tx, project_id)
        old = await the_key(tx, stores.sealer, project_id, key_id)
        if old.replaced_by:
            raise Conflict("key_id", "this key has been replaced already; rotate the one that took its place")
        new = new_api_key(project_id, old.provider, rules.api_key(key, "key"), old.weight, now)
        await refuse_twice(tx, stores.sealer, new)
        await api_keys.create(tx, stores.sealer, new)
        gone = structs.replace(old, weight=0, replaced_by=new.id, retires_at_ms=retires, updated_at_ms=now)
        await api_keys.update(tx, stores.sealer, gone)
        await api_keys.delete_retired(tx, now)
        after = {**key_fields(new), "id": new.id, "old_until": rfc3339(retires)}
        await tell(tx, actor, "api_key.rotate", old, Difference(before=key_fields(old), after=after), now)
    return new


async def undo_rotation(stores: Stores, clock: Clock, actor: Actor, project_id: str, key_id: str) -> ApiKeyRow:
    """The key that was there before takes its place back; the new one is deleted. Raises NotFound, NotUndoable."""
    now = clock.now_ms()
    async with stores.main.transaction() as tx:
        await locked_project(tx, project_id)
        new = await the_key(tx, stores.sealer, project_id, key_id)
        rows = await api_keys.for_project(tx, stores.sealer, project_id)
        old = next((row for row in rows if row.replaced_by == new.id), None)
        if old is None or (old.retires_at_ms or 0) <= now:
            raise NotUndoable
        await api_keys.delete(tx, new.id, project_id)
        back = structs.replace(old, weight=new.weight, replaced_by=None, retires_at_ms=None, updated_at_ms=now)
        await api_keys.update(tx, stores.sealer, back)
        changed = Difference(before=key_fields(new), after={**key_fields(back), "id": back.id})
        await tell(tx, actor, "api_key.undo_rotation", new, changed, now)
    return back
