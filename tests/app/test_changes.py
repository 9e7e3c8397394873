"""Whom a worker tells of what: each follower its kinds, in order, again when it could not read, and all after a gap."""

import pytest

from app import changes as module
from app.changes import Changes
from sql.errors import StoreError
from sql.repositories import changes as stored
from sql.rows import ChangeRow
from sql.statements import compile_statement
from sql.stores import Stores
from tests.support.rows import NOW_MS


class Listening:
    """What it is told; it fails as often as `fails` says."""

    def __init__(self, fails: int = 0) -> None:
        self.told: list[str] = []
        self.fails = fails

    async def obey(self, change: ChangeRow | None) -> None:
        if self.fails:
            self.fails -= 1
            raise StoreError("away")
        self.told.append("anything" if change is None else change.key)


async def begun(stores: Stores) -> tuple[Changes, Listening, Listening]:
    changes, rows, policy = Changes(stores, poll_s=60), Listening(), Listening()
    changes.tell(rows.obey, "token", "project")
    changes.tell(policy.obey, "policy")
    await changes.ask()
    assert (rows.told, policy.told) == (["anything"], ["anything"])  # nobody knows what came before
    rows.told.clear()
    policy.told.clear()
    return changes, rows, policy


async def test_each_change_goes_to_who_follows_its_kind_in_order(stores: Stores) -> None:
    changes, rows, policy = await begun(stores)
    for kind, key in (("token", "a"), ("policy", "limits"), ("project", "b"), ("token", "c")):
        await stored.append(stores.main, kind, key, NOW_MS)

    await changes.ask()
    await changes.ask()

    assert (rows.told, policy.told) == (["a", "b", "c"], ["limits"])


async def test_a_kind_of_a_newer_program_may_be_anything(stores: Stores) -> None:
    changes, rows, policy = await begun(stores)

    await stored.append(stores.main, "of a newer program", "x", NOW_MS)
    await changes.ask()

    assert (rows.told, policy.told) == (["anything"], ["anything"])


async def test_who_could_not_read_is_told_again(stores: Stores) -> None:
    changes, rows, policy = await begun(stores)
    heard_at, policy.fails = changes.heard_at, 2
    await stored.append(stores.main, "policy", "limits", NOW_MS)
    await stored.append(stores.main, "token", "a", NOW_MS)

    states = []
    for _ in range(3):
        await changes.ask()
        states.append((changes.store_is_away, changes.heard_at > heard_at))

    assert states == [(True, False), (True, False), (False, True)]
    assert (rows.told, policy.told) == (["a"], ["limits"])


async def test_a_worker_that_starts_without_its_database_is_told_when_it_is_there(stores: Stores) -> None:
    changes, policy = Changes(stores, poll_s=60), Listening(fails=1)
    changes.tell(policy.obey, "policy")

    await changes.ask()
    was_away = changes.store_is_away
    await changes.ask()

    assert (was_away, changes.store_is_away, policy.told) == (True, False, ["anything"])


async def test_a_database_from_a_backup_makes_everything_uncertain(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_BACK_S", 0.0)
    await stored.append(stores.main, "token", "before the backup", NOW_MS)
    changes, rows, policy = await begun(stores)
    await changes.ask()
    assert rows.told == []

    async with stores.main.transaction() as transaction:
        await transaction.execute(compile_statement("empty", "DELETE FROM changes"), {})
    await changes.ask()
    await changes.ask()

    assert (rows.told, policy.told) == (["anything"], ["anything"])


async def test_who_was_away_for_longer_than_changes_are_kept_has_missed_some(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, rows, _ = await begun(stores)
    monkeypatch.setattr(stored, "KEPT_S", -1)

    await changes.ask()

    assert rows.told == ["anything"]
