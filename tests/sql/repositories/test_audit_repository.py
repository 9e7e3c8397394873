"""The audit chain on both databases: whole under load, and telling where it was touched."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import Settings
from sql.repositories import audit
from sql.rows import AuditFilter, AuditRow, NewAudit
from sql.statements import compile_statement
from sql.stores import Stores, open_stores
from tests.support.rows import NOW_MS


async def _append(stores: Stores, count: int) -> list[AuditRow]:
    return [
        await audit.append(stores.main, NewAudit(action="token.create", actor="admin", object_id=f"t{n}"), NOW_MS + n)
        for n in range(count)
    ]


async def _tamper(stores: Stores, *texts: str) -> None:
    for text in texts:
        await stores.main.execute(compile_statement("tamper", text), {})


async def test_a_row_is_read_as_it_was_appended(stores: Stores) -> None:
    event = NewAudit(
        action="project.update", actor="management_token", outcome="denied", object_kind="project", object_id="p1",
        project_id="p1", token_id="t1", request_id="r1", client_ip="::1", method="PATCH", path="/manage/projects/p1",
        user_agent="curl ü", reason="no", before='{"name": "a"}', after='{"name": "b"}',
    )  # fmt: skip

    row = await audit.append(stores.main, event, NOW_MS)

    assert (row.seq, row.prev_hash, row.at_ms) == (1, audit.GENESIS, NOW_MS)
    assert await audit.get(stores.main, row.id) == row
    assert await audit.get(stores.main, "nobody") is None


async def test_an_empty_chain_is_whole(stores: Stores) -> None:
    assert await audit.verify(stores.main) is None


@pytest.mark.slow
async def test_the_chain_is_whole_after_appends_from_all_sides(stores: Stores, store_settings: Settings) -> None:
    other = open_stores(store_settings)

    async with asyncio.timeout(60):
        event = NewAudit(action="token.create", actor="admin")
        await asyncio.gather(*(audit.append((stores, other)[n % 2].main, event, NOW_MS) for n in range(40)))
    await other.close()

    page = await audit.list_page(stores.main, AuditFilter(), limit=100)
    assert [row.seq for row in page] == list(range(40, 0, -1))
    assert await audit.verify(stores.main) is None


async def test_a_row_that_was_rolled_back_leaves_no_gap(stores: Stores) -> None:
    await _append(stores, 1)
    with pytest.raises(RuntimeError):
        async with stores.main.transaction() as transaction:
            await audit.append(transaction, NewAudit(action="lost", actor="admin"), NOW_MS)
            raise RuntimeError

    await _append(stores, 1)

    assert await audit.verify(stores.main) is None
    assert await audit.count(stores.main, AuditFilter()) == 2


@pytest.mark.parametrize(
    ("tampering", "broken_at"),
    [
        (["UPDATE audit_events SET actor = 'somebody else' WHERE seq = 3"], 3),
        (["UPDATE audit_events SET reason = '' WHERE seq = 1"], 1),
        (["UPDATE audit_events SET at_ms = at_ms + 1 WHERE seq = 5"], 5),
        (["DELETE FROM audit_events WHERE seq = 2"], 2),
        (["DELETE FROM audit_events WHERE seq = 1"], 1),
        (["DELETE FROM audit_events WHERE seq = 5"], 5),
        (["DELETE FROM audit_events"], 1),
        (["UPDATE audit_events SET seq = 99 WHERE seq = 2", "UPDATE audit_events SET seq = 2 WHERE seq = 3",
          "UPDATE audit_events SET seq = 3 WHERE seq = 99"], 2),
        (["DELETE FROM audit_events WHERE seq = 4", "UPDATE audit_events SET seq = 4 WHERE seq = 5"], 4),
        (["UPDATE audit_events SET seq = -1 WHERE seq = 1"], 1),
        (["DELETE FROM audit_head"], 6),
        (["DELETE FROM audit_events WHERE seq > 3", "DELETE FROM audit_head"], 4),
        (["UPDATE audit_head SET seq = 7"], 6),
    ],
)  # fmt: skip
async def test_verify_names_the_first_place_that_was_touched(
    stores: Stores, tampering: Sequence[str], broken_at: int
) -> None:
    await _append(stores, 5)
    assert await audit.verify(stores.main) is None

    await _tamper(stores, *tampering)

    assert await audit.verify(stores.main) == broken_at


async def test_a_last_row_forged_with_a_hash_of_its_own_is_found(stores: Stores) -> None:
    last = (await _append(stores, 3))[-1]
    await _tamper(stores, "DELETE FROM audit_events WHERE seq = 3", "UPDATE audit_head SET seq = 2")
    head = "UPDATE audit_head SET hash = (SELECT hash FROM audit_events WHERE seq = 2)"
    await _tamper(stores, head)
    await audit.append(stores.main, NewAudit(action="forged", actor="admin"), NOW_MS)
    await _tamper(stores, f"UPDATE audit_head SET hash = '{last.hash}'")

    assert await audit.verify(stores.main) == 3


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (AuditFilter(), 3),
        (AuditFilter(action="token.create"), 1),
        (AuditFilter(actor="admin"), 2),
        (AuditFilter(outcome="denied"), 1),
        (AuditFilter(object_kind="token", object_id="t1"), 1),
        (AuditFilter(project_id="p1"), 1),
        (AuditFilter(token_id="t1"), 1),
        (AuditFilter(request_id="r1"), 1),
        (AuditFilter(client_ip="::1"), 1),
        (AuditFilter(method="POST", path="/manage/tokens"), 1),
        (AuditFilter(since_ms=NOW_MS + 1), 2),
        (AuditFilter(until_ms=NOW_MS + 1), 1),
        (AuditFilter(search="NAME OF"), 1),
        (AuditFilter(search="Über"), 1),
        (AuditFilter(search="%"), 0),
        (AuditFilter(search="/manage/tok"), 1),
    ],
)
async def test_filters_of_the_log(stores: Stores, chosen: AuditFilter, wanted: int) -> None:
    await audit.append(stores.main, NewAudit(action="a", actor="root", after='{"name": "Name of Über"}'), NOW_MS)
    await audit.append(stores.main, NewAudit(action="b", actor="admin", outcome="denied", project_id="p1"), NOW_MS + 1)
    await audit.append(
        stores.main,
        NewAudit(action="token.create", actor="admin", object_kind="token", object_id="t1", token_id="t1",
                 request_id="r1", client_ip="::1", method="POST", path="/manage/tokens"),
        NOW_MS + 2,
    )  # fmt: skip

    assert len(await audit.list_page(stores.main, chosen, limit=10)) == wanted
    assert await audit.count(stores.main, chosen) == wanted


async def test_pages_by_place_and_by_offset_agree(stores: Stores) -> None:
    await _append(stores, 7)
    whole = await audit.list_page(stores.main, AuditFilter(), limit=100)

    after_three = await audit.list_page(stores.main, AuditFilter(), before=(whole[2].seq, whole[2].id), limit=2)
    skipped_three = await audit.list_page(stores.main, AuditFilter(), limit=2, offset=3)

    assert after_three == skipped_three == whole[3:5]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8")), other=st.none() | st.text(st.characters(codec="utf-8")))
async def test_any_text_is_kept_and_verified(stores: Stores, text: str, other: str | None) -> None:
    row = await audit.append(stores.main, NewAudit(action=text, actor="a", user_agent=other), NOW_MS)

    assert await audit.get(stores.main, row.id) == row
    assert await audit.verify(stores.main) is None
