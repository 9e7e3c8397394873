"""/manage/ledger and /manage/dead-letters against a keeper of the embedded log, and against Redis itself."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from msgspec import Struct

from bus.bus import Bus
from config.settings import Settings
from sql.repositories import audit
from sql.rows import AuditFilter
from sql.stores import Stores
from tests.admin.api.conftest import Connect
from tests.admin.pages.bus_stage import bury, event, keeper

LETTERS = "/manage/dead-letters/webhook"


class Case(Struct, frozen=True):
    manage: httpx.AsyncClient
    bus: Bus
    stores: Stores

    async def ids(self, **params: str) -> list[str]:
        reply = await self.manage.get(LETTERS, params=params)
        assert reply.status_code == 200, reply.text
        return [letter["id"] for letter in reply.json()]

    async def told(self) -> list[tuple[str, str]]:
        rows = await audit.list_page(self.stores.main, AuditFilter(object_kind="backend"), limit=9)
        return [(row.action, row.outcome) for row in rows]


@pytest.fixture
async def case(sqlite_stores: Stores, connect: Connect, tmp_path: Path) -> AsyncIterator[Case]:
    """Three letters of `webhook`, the newest of them of a crash loop; ids 3, 2, 1."""
    folder = str(tmp_path / "bus")
    Path(folder).mkdir()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(keeper(Settings(data_dir=folder), [event() for _ in range(4)]))
        await bury(bus, "webhook", 2)
        await bury(bus, "webhook", 1, "crash_loop")
        yield Case(await stack.enter_async_context(connect(sqlite_stores, data_dir=folder)), bus, sqlite_stores)


async def test_the_ledger_closes(case: Case) -> None:
    told = (await case.manage.get("/manage/ledger")).json()

    accounts = {account["backend"]: account for account in told["accounts"]}
    assert (told["closes"], told["relay_missing"], list(accounts)) == (True, 0, ["database", "webhook"])
    webhook = accounts["webhook"]
    assert [webhook[name] for name in ("recorded", "delivered", "dead", "waiting", "missing")] == [4, 0, 3, 1, 0]


async def test_letters_are_listed_page_by_page_and_by_reason(case: Case) -> None:
    first = await case.manage.get(LETTERS, params={"limit": "2"})
    [letter] = [letter for letter in first.json() if letter["id"] == "2"]

    assert await case.ids() == ["3", "2", "1"]
    assert await case.ids(reason="crash_loop") == ["3"]
    assert await case.ids(cursor=first.headers["x-next-cursor"]) == ["1"]
    assert (letter["reason"], letter["attempts"], letter["detail"][:3]) == ("permanent", 1, "400")
    assert (await case.manage.get("/manage/dead-letters/nobody")).json() == []


async def test_a_letter_is_shown_and_to_read_its_bodies_is_audited(case: Case) -> None:
    shown = (await case.manage.get(f"{LETTERS}/letter", params={"id": "2"})).json()
    assert await case.told() == []
    whole = (await case.manage.get(f"{LETTERS}/letter", params={"id": "2", "bodies": "1"})).json()
    none = await case.manage.get(f"{LETTERS}/letter", params={"id": "99"})

    assert (shown["event"]["event_id"], shown["event"]["model"]) == (shown["event_id"], "gpt-4.1-mini")
    assert "text" not in shown["event"]["request_body"]
    assert "parcel" in whole["event"]["request_body"]["text"]
    assert await case.told() == [("backend.read_letter", "success")]
    assert none.status_code == 404


async def test_letters_are_given_back_and_purged(case: Case) -> None:
    replayed = await case.manage.post(f"{LETTERS}/replay", json={"ids": ["1", "1", "99"]})
    purged = await case.manage.post(f"{LETTERS}/purge-all", json={"reason": "crash_loop"})
    left = await case.ids()
    rest = await case.manage.post(f"{LETTERS}/replay-all", json={})
    none = await case.manage.post(f"{LETTERS}/purge-all", json={})

    assert [reply.json() for reply in (replayed, purged, rest, none)] == [{"done": n} for n in (1, 1, 1, 0)]
    assert (left, await case.ids()) == (["2"], [])
    assert len(await case.bus.claim("webhook", "c2", min_idle_ms=60_000, max_entries=9)) == 2
    assert [action for action, _ in await case.told()] == [
        *("backend.replay_letters", "backend.purge_letters", "backend.replay_letters"),
    ]


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": ["../1"]}, {"ids": ["1"], "reason": "permanent"}])
async def test_it_must_be_clear_which_letters_are_meant(case: Case, body: dict[str, object]) -> None:
    reply = await case.manage.post(f"{LETTERS}/purge", json=body)

    assert reply.status_code == 422
    assert len(await case.ids()) == 3


async def test_without_a_keeper_one_is_told_when_to_ask_again(
    sqlite_stores: Stores, connect: Connect, tmp_path: Path
) -> None:
    async with connect(sqlite_stores, data_dir=str(tmp_path)) as manage:
        replies = [await manage.get("/manage/ledger"), await manage.post(f"{LETTERS}/replay-all", json={})]

    assert {(reply.status_code, reply.json()["code"], reply.headers["retry-after"]) for reply in replies} == {
        (503, "bus_unavailable", "2")
    }
