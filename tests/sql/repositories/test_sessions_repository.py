"""Sessions on both databases."""

import msgspec

from sql.repositories import sessions
from sql.stores import Stores
from tests.support import rows
from tests.support.rows import NOW_MS


async def test_a_session_lives_until_it_is_deleted(stores: Stores) -> None:
    row = rows.session()
    await sessions.create(stores.main, row)

    await sessions.touch(stores.main, row.id_hash, NOW_MS + 5)

    assert await sessions.get(stores.main, row.id_hash) == msgspec.structs.replace(row, last_seen_at_ms=NOW_MS + 5)
    assert await sessions.delete(stores.main, row.id_hash)
    assert not await sessions.delete(stores.main, row.id_hash)
    assert await sessions.get(stores.main, row.id_hash) is None


async def test_only_expired_sessions_are_swept(stores: Stores) -> None:
    over, alive = rows.session(expires_at_ms=NOW_MS), rows.session(expires_at_ms=NOW_MS + 1)
    await sessions.create(stores.main, over)
    await sessions.create(stores.main, alive)

    assert await sessions.delete_expired(stores.main, NOW_MS) == 1

    assert await sessions.get(stores.main, over.id_hash) is None
    assert await sessions.get(stores.main, alive.id_hash) == alive
