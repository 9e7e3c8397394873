"""Acts on the policy document: nothing wrong gets in, nobody's change is lost, and the audit log tells what changed."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.acts.errors import Conflict, InvalidDocument, NotFound
from admin.acts.policy import change_policy, checked, document_of, put_limit, remove_limit
from admin.acts.policy_changes import changes_between, told
from sql.repositories import audit, changes, policies
from sql.rows import AuditFilter, PolicyRow
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, NOON_MS, StillClock

SHARE = {"name": "fair share", "measure": "requests", "most": 600, "window": "1m", "per": ["token"]}
BUDGET = {"name": "budget", "measure": "cost", "most": 250, "window": "month", "time_zone": "Europe/Berlin"}
RULE = {"allow": ["gpt-*"], "only": {"project": ["p-1"]}}


async def change(stores: Stores, document: dict[str, Any], version: int) -> PolicyRow:
    return await change_policy(stores, StillClock(), ACTOR, document, expected_version=version)


async def audited(stores: Stores) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Newest first."""
    rows = await audit.list_page(stores.main, AuditFilter(), limit=50)
    return [
        (row.action, msgspec.json.decode(row.before or "{}"), msgspec.json.decode(row.after or "{}")) for row in rows
    ]


async def test_a_document_is_kept_as_it_was_written_with_its_audit_and_its_signal(stores: Stores) -> None:
    row = await change(stores, {"limits": [SHARE], "models": [RULE]}, 0)

    assert (row.version, row.updated_at_ms, row.updated_by) == (1, NOON_MS, "management_token")
    assert await policies.read(stores.main) == row
    assert document_of(row) == {"limits": [SHARE], "models": [RULE]}
    assert [(each.kind, each.key) for each in await changes.after(stores.main, 0, 9)] == [("policy", "limits")]
    [(action, before, after)] = await audited(stores)
    assert (action, before) == ("policy.update", {"version": 0, "models": "[]"})
    assert msgspec.json.decode(after["limit 'fair share'"]) == SHARE


async def test_the_audit_log_tells_only_what_changed(stores: Stores) -> None:
    await change(stores, {"limits": [SHARE, BUDGET], "unlisted_models": "deny", "models": [RULE]}, 0)

    await change(
        stores, {"limits": [{**SHARE, "most": 700}], "unlisted_models": "allow", "models": [RULE, {"allow": ["*"]}]}, 1
    )

    _, before, after = (await audited(stores))[0]
    assert msgspec.json.decode(before.pop("limit 'budget'")) == BUDGET
    assert before == {"version": 1, "limit 'fair share' most": 600, "unlisted_models": "deny", "models": "[]"}
    assert after == {
        "version": 2, "limit 'fair share' most": 700, "unlisted_models": "allow", "models": '[{"allow":["*"]}]',
    }  # fmt: skip


async def test_what_somebody_else_put_there_meanwhile_is_not_written_over(stores: Stores) -> None:
    await change(stores, {"limits": [SHARE]}, 0)

    for seen in (0, 2):
        with pytest.raises(Conflict, match=f"version 1, not {seen}; read it again"):
            await change(stores, {"limits": [BUDGET]}, seen)

    assert document_of(await policies.read(stores.main)) == {"limits": [SHARE]}
    assert len(await audited(stores)) == 1


async def test_what_changes_nothing_leaves_no_trace(stores: Stores) -> None:
    row = await change(stores, {"limits": [SHARE]}, 0)

    assert await change(stores, {"limits": [SHARE]}, 1) == row

    assert len(await audited(stores)) == 1


async def test_a_wrong_document_is_refused_with_all_mistakes_by_place(stores: Stores) -> None:
    wrong = {"limits": [{**SHARE, "most": 1.5, "window": "1x"}, SHARE, {**BUDGET, "time_zone": "Mars/Dome"}]}

    with pytest.raises(InvalidDocument) as caught:
        await change(stores, wrong, 0)

    assert list(caught.value.faults) == ["limits", "limits[0]", "limits[2]"]
    assert "1.5" in caught.value.faults["limits[0]"] and "1x" in caught.value.faults["limits[0]"]
    assert await policies.read(stores.main) is None


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"limits": [{**SHARE, "most": "many"}]}, "limits[0].most"),
        ({"limits": [SHARE, {"name": "x"}]}, "limits[1]"),
        ({"limits": [{**SHARE, "only": {"planet": ["mars"]}}]}, "limits[0].only"),
        ({"limits": {}}, "limits"),
        ({"limit": []}, ""),
        ({"models": [{"allow": []}]}, "models[0]"),
    ],
)
def test_a_mistake_has_its_place(document: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        checked(document)

    assert list(caught.value.faults) == [place]


def test_so_many_mistakes_are_told_and_no_more() -> None:
    with pytest.raises(InvalidDocument) as caught:
        checked({"limits": [{**SHARE, "name": f"n {n}", "most": 0.5} for n in range(60)]})

    assert len(caught.value.faults) == 51
    assert caught.value.faults[""] == "and 10 more mistakes"


async def test_single_limits_are_put_and_removed(stores: Stores) -> None:
    clock = StillClock()
    await put_limit(stores, clock, ACTOR, SHARE)
    await put_limit(stores, clock, ACTOR, BUDGET)

    await put_limit(stores, clock, ACTOR, {**SHARE, "mode": "shadow"})
    assert document_of(await policies.read(stores.main)) == {"limits": [{**SHARE, "mode": "shadow"}, BUDGET]}
    row = await remove_limit(stores, clock, ACTOR, "fair share")

    assert (row.version, document_of(row)) == (4, {"limits": [BUDGET]})
    with pytest.raises(NotFound):
        await remove_limit(stores, clock, ACTOR, "fair share")
    with pytest.raises(InvalidDocument):
        await put_limit(stores, clock, ACTOR, {"name": "half"})


async def test_limits_put_at_the_same_time_are_all_there(stores: Stores) -> None:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for n in range(8):
            limit = {**SHARE, "name": f"limit {n}"}
            group.create_task(put_limit(stores, StillClock(), ACTOR, limit), name=f"put {n}")

    row = await policies.read(stores.main)
    assert row is not None and row.version == 8
    assert {limit["name"] for limit in document_of(row)["limits"]} == {f"limit {n}" for n in range(8)}


async def test_what_looks_like_a_token_is_masked_in_the_audit_log(stores: Stores) -> None:
    secret = "sk-0123456789abcdefghijklmnop"

    await change(stores, {"limits": [{**SHARE, "only": {"token": [secret]}}], "models": [{"allow": [secret]}]}, 0)

    assert secret not in repr(await audited(stores))


LIMITS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc"), "most": st.integers(0, 2)}, optional={"window": st.sampled_from(["1m", "1h"])}
    ),
    unique_by=lambda limit: limit["name"],
)
DOCUMENTS = st.fixed_dictionaries(
    {}, optional={"limits": LIMITS, "unlisted_models": st.sampled_from(["allow", "deny"])}
)


@given(DOCUMENTS, DOCUMENTS)
def test_the_difference_is_empty_when_the_limits_are_the_same_and_else_names_each(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    was = {limit["name"]: limit for limit in old.get("limits", [])}
    becomes = {limit["name"]: limit for limit in new.get("limits", [])}

    changed = changes_between(old, new)

    assert {*changed.added, *changed.changed} == {name for name in becomes if was.get(name) != becomes[name]}
    assert set(changed.removed) == set(was) - set(becomes)
    is_same = was == becomes and old.get("unlisted_models") == new.get("unlisted_models")
    assert told(old, new).is_empty == is_same
