"""Dead letters of a backend: found, read, given back to it, or purged after a page that says what will be gone."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from starlette.responses import Response

from admin.acts import dead_letters as acts
from admin.acts.errors import NotFound
from admin.asking import ask_letters, ask_standing, what_to_do
from admin.lists import CURSOR, PAGE_ROWS, Query, address, pager_before, read_cursor
from admin.pages.letter_views import event_view, letter_view
from admin.visit import Visit
from bus.dead_letters import DeadLetters, Letter, LetterPage, full_page, newest_letters
from bus.errors import BusUnavailable
from sql.errors import StoreError
from sql.repositories import requests

LIST: Final = "/admin/backends/dead-letters"
REASONS: Final = {"permanent": "Refused for good", "crash_loop": "Crash loop", "undecodable": "Cannot be read"}
_LOOKS: Final = 10  # Redis looks at a thousand letters each time: a page is there within a second
_PICK: Final = "letter-"
_ID: Final = re.compile("[A-Za-z0-9:_-]{1,64}")  # of a sharded bus they name the shard before a colon


class Chosen(Query, frozen=True):
    backend: str = ""
    reason: str = ""


class Wanted(Struct, frozen=True):
    """What a form asks for: one letter, those selected, or all of a filter."""

    chosen: Chosen
    ids: tuple[str, ...]
    is_all: bool
    through_ms: int | None
    """All, but none that was given up after this moment: what has died since nobody was asked about."""

    @property
    def back(self) -> str:
        return address(LIST, self.chosen.query)


def _chosen(said: Mapping[str, str]) -> Chosen:
    reason = said.get("reason", "")
    return Chosen(said.get("backend", "")[:200], reason if reason in REASONS else "")


def _wanted(form: Mapping[str, str]) -> Wanted:
    """A button of one letter's counts for that one, whatever else is selected."""
    picked = [name.removeprefix(_PICK) for name in form if name.startswith(_PICK)]
    ids = [form["only"]] if "only" in form else picked
    digits = form.get("through_ms", "")
    through = int(digits) if re.fullmatch("[0-9]{1,15}", digits) else None
    is_all = "all" in form and "only" not in form
    return Wanted(_chosen(form), tuple(id for id in ids if _ID.fullmatch(id)), is_all, through)


async def list_all(visit: Visit) -> Response:
    """Without a backend named: the first that has any."""
    settings, query = visit.parts.settings, visit.query
    chosen, page, more, dead, away = _chosen(query), LetterPage(()), "", dict[str, int](), ""
    before = read_cursor(query.get(CURSOR), tuple[str]) or ("",)
    try:
        stand = await ask_standing(settings)
        dead = {account.backend: account.dead for account in stand.ledger.accounts}
        chosen = Chosen(chosen.backend or _first(dead), chosen.reason)
        async with ask_letters(settings) as bus:
            page = await _page(bus, chosen, before[0], PAGE_ROWS)
            more = await _more(bus, chosen, page.next)
    except BusUnavailable as error:
        away = str(error)
    return visit.show_list(
        "dead_letters/list.html",
        "dead_letters/_rows.html",
        address(LIST, chosen.query),
        letters=[letter_view(letter) for letter in page.letters],
        chosen=chosen,
        dead=dead,
        away=away,
        what_to_do=what_to_do(settings),
        reasons=REASONS,
        at_most=acts.AT_MOST,
        pager=pager_before(LIST, chosen.query, query, (more,) if more else None),
    )


async def _page(bus: DeadLetters, chosen: Chosen, before: str, limit: int) -> LetterPage:
    return await full_page(bus, chosen.backend, reason=chosen.reason, before=before, limit=limit, looks=_LOOKS)


async def _more(bus: DeadLetters, chosen: Chosen, following: str) -> str:
    """`following`, or nothing when there is nothing behind it."""
    if not following:
        return ""
    page = await _page(bus, chosen, following, 1)
    return following if page.letters or page.next else ""


def _first(dead: Mapping[str, int]) -> str:
    return next((name for name, number in dead.items() if number), next(iter(dead), ""))


async def show(visit: Visit) -> Response:
    parts, chosen, letter_id = visit.parts, _chosen(visit.query), str(visit.request.path_params["letter_id"])
    if not _ID.fullmatch(letter_id):
        raise NotFound("dead letter")
    try:
        async with ask_letters(parts.settings) as bus:
            opened = await bus.letter(chosen.backend, letter_id)
    except BusUnavailable as error:
        return visit.show("dead_letters/away.html", away=str(error), what_to_do=what_to_do(parts.settings))
    if opened is None:
        raise NotFound("dead letter")
    with_bodies = visit.query.get("bodies") == "1"
    if with_bodies:
        await acts.tell_of_reading(parts.stores, parts.clock, visit.actor(), chosen.backend, letter_id)
    return visit.show(
        "dead_letters/show.html",
        chosen=chosen,
        letter=letter_view(opened.letter),
        event=event_view(opened, with_bodies=with_bodies),
        with_bodies=with_bodies,
        reasons=REASONS,
        has_request=await _is_recorded(visit, opened.letter.event_id),
    )


async def _is_recorded(visit: Visit, event_id: str) -> bool:
    """Whether the database has the exchange, so that its page can be linked."""
    try:
        return await requests.get(visit.parts.stores.records, event_id) is not None
    except StoreError:
        return False


async def replay(visit: Visit) -> Response:
    wanted = _wanted(visit.form)
    try:
        async with ask_letters(visit.parts.settings) as bus:
            ids = await _ids(bus, wanted)
            return await _do(visit, bus, wanted, ids, acts.replay_letters, "letters_replayed")
    except BusUnavailable:
        return visit.done(wanted.back, "bus_away")


async def purge(visit: Visit) -> Response:
    """What is purged is gone, so a page names it first; for all of a filter their number has to be typed."""
    wanted = _wanted(visit.form)
    try:
        async with ask_letters(visit.parts.settings) as bus:
            letters = await _letters(bus, wanted)
            if letters and not (visit.is_confirmed and _is_number_right(visit, wanted, letters)):
                return _ask_purge(visit, wanted, letters)
            ids = tuple(letter.id for letter in letters)
            return await _do(visit, bus, wanted, ids, acts.purge_letters, "letters_purged")
    except BusUnavailable:
        return visit.done(wanted.back, "bus_away")


async def _ids(bus: DeadLetters, wanted: Wanted) -> tuple[str, ...]:
    return tuple(letter.id for letter in await _letters(bus, wanted)) if wanted.is_all else wanted.ids


async def _letters(bus: DeadLetters, wanted: Wanted) -> list[Letter]:
    """Those that are there."""
    chosen = wanted.chosen
    if wanted.is_all:
        through = wanted.through_ms
        return await newest_letters(bus, chosen.backend, chosen.reason, at_most=acts.AT_MOST, through_ms=through)
    opened = [await bus.letter(chosen.backend, letter_id) for letter_id in wanted.ids]
    return [each.letter for each in opened if each is not None]


def _is_number_right(visit: Visit, wanted: Wanted, letters: list[Letter]) -> bool:
    return not wanted.is_all or visit.form.get("number", "").strip() == str(len(letters))


def _ask_purge(visit: Visit, wanted: Wanted, letters: list[Letter]) -> Response:
    is_wrong = visit.is_confirmed
    number = str(len(letters))
    return visit.show(
        "dead_letters/purge.html",
        "dead_letters/_purge_form.html",
        status=422 if is_wrong else 200,
        wanted=wanted,
        letters=[letter_view(letter) for letter in letters] if not wanted.is_all else [],
        number=len(letters),
        through_ms=letters[0].last_ms,
        reasons=REASONS,
        values={"number": ""},
        errors={"number": f"Type {number}: so many will be gone."} if is_wrong else {},
    )


async def _do(
    visit: Visit, bus: DeadLetters, wanted: Wanted, ids: tuple[str, ...], act: acts.Act, notice: str
) -> Response:
    if not ids:
        return visit.done(wanted.back, "letters_gone" if wanted.is_all or wanted.ids else "no_letters_chosen")
    chosen = acts.Chosen(backend=wanted.chosen.backend, ids=ids, reason=wanted.chosen.reason if wanted.is_all else "")
    done = await act(visit.parts.stores, visit.parts.clock, visit.actor(), bus, chosen)
    return visit.done(wanted.back, notice if done else "letters_gone", done)
