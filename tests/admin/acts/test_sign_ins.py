"""Sign-ins are audited; refused ones without letting a stranger fill the disk."""

import pytest
from msgspec import structs

from admin.acts.actor import Actor, Target, audit_row, record_refusal
from admin.acts.refusals import WRONG_CREDENTIAL, Refusals
from admin.acts.sign_ins import record_sign_in, record_sign_out
from sql.errors import StoreUnavailable
from sql.repositories import audit
from sql.rows import AuditFilter
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, StillClock, away_stores

__all__ = ["away_stores"]


async def test_sign_in_and_sign_out_are_told(stores: Stores) -> None:
    await record_sign_in(stores, StillClock(), ACTOR)
    await record_sign_out(stores, StillClock(), ACTOR)

    rows = await audit.list_page(stores.main, AuditFilter(), limit=10)

    assert [(row.action, row.outcome, row.client_ip) for row in rows] == [
        ("admin.logout", "success", "192.0.2.7"),
        ("admin.login", "success", "192.0.2.7"),
    ]


async def test_an_address_gets_one_row_a_minute_that_says_how_many_there_were(stores: Stores) -> None:
    clock = StillClock()
    refused = Refusals(clock)
    for _ in range(50):
        await refused.record(stores, ACTOR, "admin.login", WRONG_CREDENTIAL)

    clock.pass_ms(60_000)
    await refused.record(stores, ACTOR, "admin.login", WRONG_CREDENTIAL)

    rows = await audit.list_page(stores.main, AuditFilter(outcome="denied"), limit=100)
    assert [row.reason for row in rows] == [
        "wrong credential; 50 refused since the last row of this address",
        "wrong credential",
    ]


async def test_many_addresses_together_are_bounded_too(sqlite_stores: Stores) -> None:
    refused = Refusals(StillClock())

    for n in range(200):
        await refused.record(
            sqlite_stores, structs.replace(ACTOR, client_ip=f"2001:db8:{n:x}::1"), "admin.login", "why"
        )

    assert await audit.count(sqlite_stores.main, AuditFilter(outcome="denied")) == 60


async def test_a_refusal_stands_while_the_database_is_away(away_stores: Stores) -> None:
    with pytest.raises(StoreUnavailable):
        await away_stores.main.ping()

    await Refusals(StillClock()).record(away_stores, ACTOR, "admin.login", "why")  # raises nothing


async def test_refused_attempts_can_be_told(stores: Stores) -> None:
    target = Target(kind="project", id="p1")
    await record_refusal(
        stores, StillClock(), ACTOR, "project.delete", target, outcome="failure", reason="not permitted"
    )

    [row] = await audit.list_page(stores.main, AuditFilter(), limit=10)
    assert (row.action, row.outcome, row.object_kind, row.object_id, row.reason) == (
        "project.delete",
        "failure",
        "project",
        "p1",
        "not permitted",
    )


@pytest.mark.parametrize("field", ["path", "user_agent"])
def test_a_token_in_a_path_or_a_header_is_masked(field: str) -> None:
    actor = structs.replace(ACTOR, **{field: "/manage/tokens/sk-0123456789abcdefghij"})

    row = audit_row(actor, "token.read", Target(kind="token", id="sk-0123456789abcdefghij"), reason="x\x00\ud800")

    assert "0123456789" not in repr(row)
    assert row.reason == "x\N{REPLACEMENT CHARACTER}?"


def test_what_a_stranger_sends_is_cut_to_size() -> None:
    row = audit_row(Actor(name="a", user_agent="x" * 100_000), "a.b", Target(kind="session"))

    assert len(row.user_agent or "") == 512
