"""The backends' page: the ledger as a sum, what is stuck and why, and what it says when nothing answers."""

import re
from pathlib import Path

import pytest
from msgspec import Struct

from admin.pages.backend_views import backend_views, relay_facts, summary
from bus.bus import BusStats, GroupStats
from bus.checkpoint import Totals
from bus.errors import BusUnavailable
from bus.inspection import BackendState, KeeperStats, serve_inspection
from bus.ledger import ledger_of
from bus.relay_stats import stats_of
from bus.standing import Standing
from config.paths import keeper_socket
from config.secret import Secret
from tests.admin.acts.acting import StillClock
from tests.admin.pages.bus_stage import append, bury, deliver, event, keeper, redis_bus
from tests.admin.pages.site import Site, open_site, site_settings

PATH = "/admin/backends"


def sums(page: str) -> dict[str, dict[str, int]]:
    """Per backend the ledger's line as it is shown."""
    found = {}
    for card in re.findall(r'<h2 id="backend-[0-9]+".*?</dl>', page, re.DOTALL):
        [name] = re.findall(r'class="named">(\S+)', card)
        terms = re.findall(r"<dt>(?:<i[^>]*></i>)?(\w+)</dt><dd>(?:<a[^>]*>)?(\d+)", card)
        found[name] = {term: int(number) for term, number in terms}
    return found


def stand(
    group: GroupStats, *states: BackendState, appended: int = 10, relay: dict[str, object] | None = None
) -> Standing:
    bus = BusStats(entries=1, bytes=1, appended=appended, groups=(group,))
    told = relay or {}
    return Standing(KeeperStats(bus, told, states), ledger_of(bus, told, told, is_shared=False), has_keeper=True)


async def test_the_ledger_of_each_backend_is_a_sum_that_closes(signed_in: Site) -> None:
    async with keeper(signed_in.parts.settings, [event() for _ in range(6)]) as log:
        await bury(log, "webhook", 2)
        await deliver(log, "webhook", 1)
        await deliver(log, "database", 6)

        page = (await signed_in.get(PATH)).text

    assert sums(page) == {
        "database": {"recorded": 6, "delivered": 6, "dead": 0, "pending": 0, "parked": 0, "dropped": 0},
        "webhook": {"recorded": 6, "delivered": 1, "dead": 2, "pending": 3, "parked": 0, "dropped": 0},
    }
    assert page.count("ledger closes") == 2
    assert "3 not handed out yet" in page
    assert "0 B in 0 spools" in page


async def test_the_overview_says_it_in_a_line(signed_in: Site) -> None:
    async with keeper(signed_in.parts.settings, [event(), event()]) as log:
        for backend in ("webhook", "database"):
            await deliver(log, backend, 1)
        some = (await signed_in.get("/admin/")).text
        await deliver(log, "database", 1)
        await bury(log, "webhook", 1)
        dead = (await signed_in.get("/admin/")).text
        await log.purge_letters("webhook", [letter.id for letter in (await log.letters("webhook")).letters])
        fine = (await signed_in.get("/admin/")).text

    assert "Events are on their way to 2 backends; nothing is stuck." in some
    assert '<a href="/admin/backends/dead-letters?backend=webhook">1 dead letter of webhook</a>' in dead
    assert "All events are delivered." in fine


@pytest.mark.parametrize("path", [PATH, "/admin/", f"{PATH}/dead-letters", f"{PATH}/dead-letters/1?backend=webhook"])
async def test_without_a_keeper_a_page_says_what_to_do(signed_in: Site, path: str) -> None:
    page = await signed_in.get(path)

    assert page.status_code == 200
    assert "Start `llm-proxy server`" in page.text


async def test_it_renews_itself_by_script_until_it_is_paused(signed_in: Site) -> None:
    running, paused = (await signed_in.get(PATH)).text, (await signed_in.get(f"{PATH}?updates=off")).text

    assert 'hx-get="/admin/backends" hx-trigger="every 5s" hx-swap="outerMorph"' in running
    assert "hx-trigger" not in paused


async def test_on_redis_no_keeper_is_needed(tmp_path: Path, clock: StillClock, redis_url: str) -> None:
    settings = site_settings(tmp_path, redis_url=Secret(redis_url))
    site = await open_site(settings, clock)
    await site.sign_in()
    async with redis_bus(settings) as bus:
        await bus.ensure_groups(["file"])
        await append(bus, [event() for _ in range(3)])
        await deliver(bus, "file", 1)
        await bury(bus, "file", 1)

        page = (await site.get(PATH)).text

    await site.close()
    assert "No keeper answers on this host" in page
    assert sums(page) == {"file": {"recorded": 3, "delivered": 1, "dead": 1, "pending": 1, "parked": 0, "dropped": 0}}
    assert "ledger closes" in page


async def test_redis_that_is_away_is_said(tmp_path: Path, clock: StillClock) -> None:
    settings = site_settings(tmp_path, redis_url=Secret("redis://127.0.0.1:1/0"))
    site = await open_site(settings, clock)
    await site.sign_in()

    pages = [await site.get(path) for path in (PATH, "/admin/", f"{PATH}/dead-letters")]

    await site.close()
    assert {page.status_code for page in pages} == {200}
    assert all("Start Redis, or check REDIS_URL" in page.text for page in pages)


class AwayBus:
    async def stats(self) -> BusStats:
        raise BusUnavailable("Redis did not answer")


class AwayRelay:
    def stats(self) -> Struct:
        return stats_of(Totals(), [], is_bus_away=True, appended=0, rewinds=0, bus_errors=3)


async def test_while_the_bus_is_away_the_keeper_tells_of_its_spools(signed_in: Site) -> None:
    socket = keeper_socket(signed_in.parts.settings)
    async with serve_inspection(socket, AwayBus(), AwayRelay()):  # type: ignore[arg-type]
        page = await signed_in.get(PATH)

    assert page.status_code == 200
    assert "The event bus does not answer." in page.text
    assert "away: events wait in the spools" in page.text
    assert "<dt>Spools on disk</dt><dd>0 B in 0 spools</dd>" in page.text


STATES = {
    "delivering": ("delivering", "good"),
    "waiting": ("waiting", "warn"),
    "restarting": ("restarting", "warn"),
    "stopped": ("stopped", "quiet"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_backend_has_the_state_that_its_dispatcher_tells(state: str) -> None:
    told = BackendState("webhook", state, error="no sk-proj-92kd02kd02kd02kd here")  # type: ignore[arg-type]

    [view] = backend_views(stand(GroupStats("webhook", 0, 0, 0, 0, 10), told))

    assert (view.state, view.tone) == STATES[state]
    assert "92kd02kd02kd" not in view.error


def test_an_open_breaker_and_a_backend_that_nobody_serves_are_said() -> None:
    is_open = BackendState("webhook", "waiting", breaker="open", error="connection refused")
    other = BackendState("file", "delivering")
    group = GroupStats("webhook", 1, 4, 130_000, 0, 5)

    [away], [unserved] = backend_views(stand(group, is_open)), backend_views(stand(group, other))

    assert (away.state, away.tone, away.error) == ("breaker open", "bad", "connection refused")
    assert (unserved.state, unserved.tone, "dlq forget" in unserved.why) == ("not served", "warn", True)
    assert [trouble.text for trouble in summary(stand(group, is_open), [away]).troubles] == [
        "webhook is away, its breaker open: 5 events to come, the oldest for 2 minutes."
    ]


@pytest.mark.parametrize(
    ("lag", "oldest_ms", "word"), [(0, 0, "up to date"), (3, 1_000, "delivering"), (3, 90_000, "behind")]
)
def test_without_a_dispatchers_word_the_figures_speak(lag: int, oldest_ms: int, word: str) -> None:
    [view] = backend_views(stand(GroupStats("webhook", 0, lag, oldest_ms, 0, 10 - lag)))

    assert view.state == word


@pytest.mark.parametrize(
    ("lot", "words"), [("off", ""), ("parking", "disk"), ("returning", "first"), ("full", "no room")]
)
def test_parked_events_are_told(lot: str, words: str) -> None:
    state = BackendState("webhook", "waiting", breaker="open", lot=lot)  # type: ignore[arg-type]
    group = GroupStats("webhook", pending=1, lag=0, oldest_ms=0, dead=0, delivered=2, parked=7)

    [view] = backend_views(stand(group, state))

    assert (view.owed, view.open, {term.name: term.number for term in view.terms}["parked"]) == (8, "", 7)
    assert words in view.lot
    assert [view.state for view in backend_views(stand(group))] == ["parked"]
    assert any("is full" in trouble.text for trouble in summary(stand(group, state), [view]).troubles) == (
        lot == "full"
    )


@pytest.mark.parametrize(
    ("delivered", "said"), [(10, ""), (8, "2 of them are accounted for by nothing"), (11, "1 is counted twice")]
)
def test_what_is_open_is_said(delivered: int, said: str) -> None:
    [view] = backend_views(stand(GroupStats("webhook", 0, 0, 0, 0, delivered)))

    assert view.open == said


def test_the_terms_add_up_to_what_is_recorded() -> None:
    relay = {"recorded": 12, "lost": 1, "unrecoverable": 1, "dropped": {"full": 3}, "is_bus_away": False}
    group = GroupStats("webhook", pending=1, lag=2, oldest_ms=5, dead=1, delivered=3, purged=2, earlier=1)

    [view] = backend_views(stand(group, relay=relay))

    assert (view.recorded, sum(term.number for term in view.terms), view.open) == (15, 15, "")
    assert [term.details for term in view.terms if term.details] == [
        ("1 handed out", "2 not handed out yet"),
        ("3 found no room", "2 lost to damage", "2 purged", "1 from before it was there"),
    ]
    assert sum(share.width for share in view.bar) == pytest.approx(720, abs=1)


def test_the_relay_tells_what_went_wrong() -> None:
    relay = {"spools": 2, "bytes": 4096, "behind_ms": 65_000, "is_bus_away": True, "stopped": {"a1": "damaged"}}

    facts = relay_facts({**relay, "dropped": {"full": 2}, "bodies_dropped": 1})

    assert [(fact.name, fact.value, fact.tone) for fact in facts] == [
        ("The bus", "away: events wait in the spools", "warn"),
        ("Spools on disk", "4.0 KiB in 2 spools", "quiet"),
        ("Not in the bus yet", "the oldest for 1 minute", "quiet"),
        ("Dropped for want of room", "2 events", "warn"),
        ("Recorded without bodies", "1 event", "warn"),
        ("Spool a1", "not read any more: damaged", "bad"),
    ]
