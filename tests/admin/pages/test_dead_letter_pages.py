"""Dead letters in the browser, on both buses: found, read, given back, purged after being asked, and audited."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from admin.acts import dead_letters as acts
from admin.pages import dead_letters
from bus.bus import Bus
from bus.dead_letters import Letter, newest_letters, open_dead_letters
from bus.event import Body
from config.clock import SystemClock
from config.secret import Secret
from sql.repositories import audit, requests
from sql.rows import AuditFilter, AuditRow
from tests.admin.acts.acting import StillClock
from tests.admin.pages.bus_stage import append, bury, event, keeper, redis_bus
from tests.admin.pages.site import Site, open_site, request_row, site_settings
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import until

LIST = "/admin/backends/dead-letters"
REPLAY, PURGE = f"{LIST}/replay", f"{LIST}/purge"
CANARY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Stage:
    """A signed-in admin and a bus; `letters` are those of `webhook`, newest first."""

    def __init__(self, site: Site, bus: Bus) -> None:
        self.site, self.bus = site, bus

    async def bury(self, number: int, reason: str = "permanent", **fields: Any) -> None:
        await bury(self.bus, "webhook", number, reason, **fields)

    async def letters(self) -> list[Letter]:
        async with open_dead_letters(self.site.parts.settings) as letters:
            return await newest_letters(letters, "webhook")

    async def post(self, path: str, **fields: str) -> tuple[str, str]:
        """Where it leads to, and what is said there."""
        reply = await self.site.post(path, {"backend": "webhook", **fields})
        assert reply.status_code == 303, reply.text
        page = await self.site.get(reply.headers["location"])
        found = re.search(r'role="status"[^>]*><p>(.*?)</p>', page.text)
        return reply.headers["location"], found[1] if found else ""

    async def told(self) -> list[AuditRow]:
        wanted = AuditFilter(object_kind="backend")
        return await audit.list_page(self.site.stores.main, wanted, limit=50)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One is enough here: tests of the bus look at what servers differ in."""
    running = RedisServer(next(reversed(binaries().values())))
    yield running
    running.remove()


@pytest.fixture(params=["embedded", "redis"])
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StillClock, server: RedisServer
) -> AsyncIterator[Stage]:
    """Five events that `webhook` has not been handed out yet."""
    is_redis = request.param == "redis"
    server.client().flushall()
    settings = site_settings(tmp_path, **({"redis_url": Secret(server.url)} if is_redis else {}))
    events = [event() for _ in range(5)]
    async with AsyncExitStack() as stack:
        if is_redis:
            bus: Bus = await stack.enter_async_context(redis_bus(settings))
            await bus.ensure_groups(["webhook", "database"])
            await append(bus, events)
        else:
            bus = await stack.enter_async_context(keeper(settings, events))
        site = await open_site(settings, clock)
        stack.push_async_callback(site.close)
        await site.sign_in()
        yield Stage(site, bus)


def rows(page: str) -> list[str]:
    return re.findall(r'name="letter-([^"]+)"', page)


async def test_letters_are_listed_newest_first_and_found_by_reason(stage: Stage) -> None:
    await stage.bury(2)
    await stage.bury(1, "crash_loop")
    known = [letter.id for letter in await stage.letters()]

    whole = (await stage.site.get(LIST)).text
    some = (await stage.site.get(f"{LIST}?backend=webhook&reason=crash_loop")).text
    none = (await stage.site.get(f"{LIST}?backend=webhook&reason=undecodable")).text

    assert rows(whole) == known
    assert "3 dead letters of webhook" in whole
    assert rows(some) == known[:1]
    assert "No dead letter matches" in none


async def test_pages_of_letters_lead_on_and_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "PAGE_ROWS", 2)
    await stage.bury(4)
    known = [letter.id for letter in await stage.letters()]

    first = (await stage.site.get(LIST)).text
    links = re.findall(r'<a class="button" href="([^"]+)"[^>]*>(\w+)</a>', first)
    second = (await stage.site.get(links[0][0].replace("&amp;", "&"))).text

    assert (rows(first), [label for _, label in links]) == (known[:2], ["Older"])
    assert (rows(second), "Older" in second, ">Newer</a>" in second) == (known[2:], False, True)


async def test_a_rare_reason_behind_many_others_is_found_by_going_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis, which looks at so many letters at a time; the embedded log has an index."""
    monkeypatch.setattr("bus.redis_letters._SCAN", 1)
    monkeypatch.setattr(dead_letters, "_LOOKS", 2)
    await stage.bury(1, "crash_loop")
    await stage.bury(4)

    path, empty = f"{LIST}?backend=webhook&reason=crash_loop", 0
    while not rows(page := (await stage.site.get(path)).text):
        assert "None so far" in page
        path, empty = re.findall(r'href="([^"]+)"[^>]*>Older<', page)[0].replace("&amp;", "&"), empty + 1

    assert (len(rows(page)), empty) in ((1, 0), (1, 2))


async def test_one_letter_is_given_back_to_its_own_backend(stage: Stage) -> None:
    await stage.bury(2)
    newest, other = await stage.letters()

    where, said = await stage.post(REPLAY, only=newest.id)

    assert (where, said) == (f"{LIST}?backend=webhook", "Replayed: 1 event back on the way to the backend.")
    assert await stage.letters() == [other]
    [again] = await stage.bus.claim("webhook", "c2", min_idle_ms=60_000, max_entries=9)
    assert again.event_id.hex() == newest.event_id.replace("-", "")
    [row] = await stage.told()
    assert (row.action, row.object_kind, row.object_id, row.outcome) == (
        *("backend.replay_letters", "backend", "webhook", "success"),
    )
    assert msgspec.json.decode(row.after or "") == {"letters": 1, "ids": newest.id}


async def test_selected_letters_are_given_back(stage: Stage) -> None:
    await stage.bury(3)
    first, second, third = await stage.letters()

    _, said = await stage.post(REPLAY, **{f"letter-{first.id}": "1", f"letter-{third.id}": "1"})

    assert said == "Replayed: 2 events back on the way to the backend."
    assert await stage.letters() == [second]


async def test_all_of_a_reason_are_given_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts, "AT_MOST", 2)
    await stage.bury(3)
    await stage.bury(1, "crash_loop")

    where, said = await stage.post(REPLAY, all="1", reason="permanent")
    left = await stage.letters()
    await stage.post(REPLAY, all="1", reason="permanent")

    assert (where, said[:18]) == (f"{LIST}?backend=webhook&reason=permanent", "Replayed: 2 events")
    assert [letter.reason for letter in left] == ["crash_loop", "permanent"]
    assert [letter.reason for letter in await stage.letters()] == ["crash_loop"]
    assert msgspec.json.decode((await stage.told())[-1].after or "")["reason"] == "permanent"


async def test_a_purge_asks_first_and_names_what_will_be_gone(stage: Stage) -> None:
    await stage.bury(2)
    gone, kept = await stage.letters()
    chosen = {"backend": "webhook", f"letter-{gone.id}": "1"}

    asked = await stage.site.post(PURGE, chosen)
    assert (asked.status_code, len(await stage.letters())) == (200, 2)
    _, said = await stage.post(PURGE, **chosen, confirmed="1")

    assert "Purge 1 dead letter of webhook?" in asked.text
    assert (gone.event_id in asked.text, kept.event_id in asked.text) == (True, False)
    assert said == "Purged: 1 dead letter gone for good."
    assert await stage.letters() == [kept]
    [group] = [group for group in (await stage.bus.stats()).groups if group.name == "webhook"]
    assert (group.dead, group.purged) == (1, 1)
    assert [row.action for row in await stage.told()] == ["backend.purge_letters"]


async def test_a_purge_of_all_wants_their_number_and_spares_what_dies_meanwhile(stage: Stage) -> None:
    await stage.bury(3)
    asked = (await stage.site.post(PURGE, {"backend": "webhook", "all": "1"})).text
    [through] = re.findall(r'name="through_ms" value="(\d+)"', asked)
    fields = {"backend": "webhook", "all": "1", "confirmed": "1", "through_ms": through}
    await until(lambda: SystemClock().now_ms() > int(through))
    await stage.bury(1, "crash_loop")

    refused = await stage.site.post(PURGE, {**fields, "number": "4"})
    assert (refused.status_code, "Type 3: so many will be gone." in refused.text) == (422, True)
    assert len(await stage.letters()) == 4
    _, said = await stage.post(PURGE, **{**fields, "number": "3"})

    assert said == "Purged: 3 dead letters gone for good."
    assert [letter.reason for letter in await stage.letters()] == ["crash_loop"]


async def test_what_is_not_there_is_said_and_nothing_is_audited(stage: Stage) -> None:
    said = [
        await stage.post(REPLAY),
        await stage.post(REPLAY, all="1"),
        await stage.post(PURGE, only="9999-9"),
        await stage.post(PURGE, only="../../etc", all="1"),
        await stage.post(REPLAY, backend="nobody", all="1"),
    ]

    assert [text[:50] for _, text in said] == [
        "Nothing was done: select dead letters first.",
        *["Nothing was done: none of these dead letters is th"] * 2,
        "Nothing was done: select dead letters first.",
        "Nothing was done: none of these dead letters is th",
    ]
    assert await stage.told() == []


async def test_a_backend_that_the_bus_does_not_know_has_no_letters(stage: Stage) -> None:
    await stage.bury(1)
    [letter] = await stage.letters()

    page = await stage.site.get(f"{LIST}?backend=nobody")
    wrong = [
        f"{letter.id}?backend=database",
        f"{'9' * 30}-1?backend=webhook",
        "1%00?backend=webhook",
        "é?backend=webhook",
    ]
    codes = [(await stage.site.get(f"{LIST}/{path}")).status_code for path in wrong]

    assert (page.status_code, "No such backend" in page.text) == (200, True)
    assert codes == [404] * 4


async def test_a_letter_is_shown_whole_and_its_bodies_only_when_asked_for(stage: Stage) -> None:
    await stage.bury(1, detail="401: the key sk-proj-93kd02kd02kd02kdk2 is wrong")
    [letter] = await stage.letters()
    path = f"{LIST}/{letter.id}?backend=webhook"

    page = (await stage.site.get(path)).text
    assert await stage.told() == []
    bodies = (await stage.site.get(f"{path}&bodies=1")).text

    assert all(
        f'<dd class="wrap">{text}</dd>' in page for text in (letter.event_id, "gpt-4.1-mini", "input 812, output 96")
    )
    assert "401: the key sk-proj-...kdk2 is wrong" in page
    assert ("Where is my parcel?" in page, "Where is my parcel?" in bodies) == (False, True)
    assert [(row.action, row.object_id) for row in await stage.told()] == [("backend.read_letter", "webhook")]
    assert "/admin/requests/" not in page


async def test_a_letter_leads_to_its_request_where_the_database_has_it(stage: Stage) -> None:
    await stage.bury(1)
    [letter] = await stage.letters()
    await requests.insert_many(stage.site.stores.records, [request_row(event_id=letter.event_id)], [])

    page = (await stage.site.get(f"{LIST}/{letter.id}?backend=webhook")).text

    assert f'href="/admin/requests/{letter.event_id}"' in page


@pytest.fixture
async def hostile(signed_in: Site) -> AsyncIterator[Stage]:
    """Everything in the letter says what it should not; the first is of a project that records no bodies."""
    told = dict.fromkeys(("path", "model", "user_agent", "end_user", "method", "provider", "code"), CANARY)
    body = Body(data=CANARY.encode(), content_type=CANARY)
    events = [event(recording="metadata", response_body=body), event(**told, response_body=body)]
    async with keeper(signed_in.parts.settings, events, backends=["webhook"]) as log:
        stage = Stage(signed_in, log)
        await stage.bury(2, detail=CANARY)
        yield stage


async def test_what_others_wrote_into_a_letter_is_text(hostile: Stage) -> None:
    paths = [LIST, f"{LIST}/2?backend=webhook", f"{LIST}/2?backend=webhook&bodies=1"]

    pages = [(await hostile.site.get(path)).text for path in paths]

    assert [page.count("<script>alert") + page.count("<img") for page in pages] == [0, 0, 0]
    assert all("&lt;script&gt;alert(1)" in page for page in pages)
    assert pages[2].count("&lt;script&gt;") > pages[1].count("&lt;script&gt;") + 1


async def test_bodies_that_a_project_does_not_record_are_not_shown(hostile: Stage) -> None:
    page = (await hostile.site.get(f"{LIST}/1?backend=webhook&bodies=1")).text

    assert "its project records figures only" in page
    assert "<pre" not in page


@pytest.mark.parametrize("name", ["backend", "reason", "after", "trail"])
async def test_what_an_address_says_of_letters_is_text(hostile: Stage, name: str) -> None:
    page = await hostile.site.client.get(LIST, params={name: CANARY})

    assert page.status_code == 200
    assert "<script>alert" not in page.text.replace("&lt;script", "")


@pytest.mark.parametrize("path", [REPLAY, PURGE])
async def test_a_forged_form_does_nothing(hostile: Stage, path: str) -> None:
    fields = {"backend": "webhook", "only": "1", "confirmed": "1", "csrf": "forged"}

    forged = await hostile.site.post(path, fields)
    foreign = await hostile.site.post(
        path, {**fields, "csrf": hostile.site.csrf}, headers={"Origin": "http://evil.test"}
    )

    assert (forged.status_code, foreign.status_code) == (403, 403)
    assert len(await hostile.letters()) == 2


@pytest.mark.parametrize("path", [REPLAY, PURGE])
async def test_without_a_keeper_an_act_is_not_done_and_that_is_said(signed_in: Site, path: str) -> None:
    reply = await signed_in.post(path, {"backend": "webhook", "only": "1", "confirmed": "1"})
    page = await signed_in.get(reply.headers["location"])

    assert reply.status_code == 303
    assert "The event bus did not answer." in page.text


async def test_an_act_that_fails_leaves_a_second_row(signed_in: Site) -> None:
    """The bus goes away between the audit row and the act."""
    async with keeper(signed_in.parts.settings, [event()], backends=["webhook"]) as log:
        stage = Stage(signed_in, log)
        await stage.bury(1)
    reply = await signed_in.post(REPLAY, {"backend": "webhook", "only": "1"})

    told = await stage.told()

    assert reply.status_code == 303
    assert [(row.action, row.outcome) for row in told] == [
        ("backend.replay_letters", "failure"),
        ("backend.replay_letters", "success"),
    ]
    assert "not done, or in part" in (told[0].reason or "")
