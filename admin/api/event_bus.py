"""/manage/ledger and /manage/dead-letters: where all events are, and what becomes of those that a backend refused."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts import dead_letters as acts
from admin.acts.actor import masked
from admin.acts.errors import NotFound
from admin.acts.timestamps import rfc3339
from admin.api import paging
from admin.api.operation import Call, Operation, answer
from admin.asking import ask_letters, ask_standing
from bus.dead_letters import AT_ONCE, DeadLetters, Letter, full_page, newest_letters, readable_event
from bus.ledger import Account

LetterId = Annotated[str, Meta(pattern="^[0-9]{1,10}[0-9:-]{0,53}$")]
Cursor = Annotated[
    str, Meta(pattern="^[0-9]{1,10}[0-9:,-]{0,189}$", description="From x-next-cursor of the page before.")
]
Reason = Annotated[Literal["permanent", "crash_loop", "undecodable"], Meta(description="Only those.")]

_LOOKS = 10  # Redis looks at a thousand letters each time; a page may be short before the end


class LedgerView(Struct, frozen=True):
    closes: bool
    relay_missing: Annotated[
        int, Meta(description="Events that the bus was given and does not know of; below 0: that no relay knows of.")
    ]
    accounts: list[Account]


class LetterView(Struct, frozen=True):
    id: str
    event_id: str
    reason: str
    detail: str
    attempts: int
    first_at: Annotated[str, Meta(description="When the bus took the event.")]
    last_at: Annotated[str, Meta(description="When it was given up.")]
    bytes: int


class LetterDetail(LetterView, frozen=True):
    event: Annotated[dict[str, Any], Meta(description="As recorded; bodies only with bodies=1.")]


class ListLetters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=AT_ONCE, description="How many at most.")] = 100
    cursor: Cursor | None = None
    reason: Reason | None = None


class ShowLetter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: LetterId
    bodies: Literal["0", "1"] = "0"


class SomeLetters(Struct, frozen=True, forbid_unknown_fields=True):
    ids: Annotated[list[LetterId], Meta(min_length=1, max_length=AT_ONCE)]


class AllLetters(Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason | None = None


class DoneView(Struct, frozen=True):
    done: Annotated[int, Meta(description="How many were there.")]


async def show_ledger(call: Call) -> Response:
    ledger = (await ask_standing(call.deps.settings)).ledger
    return answer(LedgerView(ledger.closes, ledger.relay_missing, list(ledger.accounts)))


async def list_dead_letters(call: Call, query: ListLetters) -> Response:
    backend, reason, before = call.ids["backend"], query.reason or "", query.cursor or ""
    async with ask_letters(call.deps.settings) as bus:
        page = await full_page(bus, backend, reason=reason, before=before, limit=query.limit, looks=_LOOKS)
    headers = paging.next_headers(call.url_path, call.query_string, page.next or None)
    return answer([LetterView(**_fields(letter)) for letter in page.letters], headers=headers)


async def show_dead_letter(call: Call, query: ShowLetter) -> Response:
    backend, with_bodies = call.ids["backend"], query.bodies == "1"
    async with ask_letters(call.deps.settings) as bus:
        opened = await bus.letter(backend, query.id)
    if opened is None:
        raise NotFound("dead letter")
    if with_bodies:
        await acts.tell_of_reading(call.deps.stores, call.deps.clock, call.actor, backend, query.id)
    event = readable_event(opened.payload, with_bodies=with_bodies)
    return answer(LetterDetail(**_fields(opened.letter), event=event))


async def replay_dead_letters(call: Call, body: SomeLetters) -> Response:
    return await _some(call, body, acts.replay_letters)


async def purge_dead_letters(call: Call, body: SomeLetters) -> Response:
    return await _some(call, body, acts.purge_letters)


async def replay_all_dead_letters(call: Call, body: AllLetters) -> Response:
    return await _all(call, body, acts.replay_letters)


async def purge_all_dead_letters(call: Call, body: AllLetters) -> Response:
    return await _all(call, body, acts.purge_letters)


async def _some(call: Call, body: SomeLetters, act: acts.Act) -> Response:
    async with ask_letters(call.deps.settings) as bus:
        chosen = acts.Chosen(backend=call.ids["backend"], ids=tuple(dict.fromkeys(body.ids)))
        return await _do(call, bus, chosen, act)


async def _all(call: Call, body: AllLetters, act: acts.Act) -> Response:
    backend, reason = call.ids["backend"], body.reason or ""
    async with ask_letters(call.deps.settings) as bus:
        letters = await newest_letters(bus, backend, reason, at_most=acts.AT_MOST)
        chosen = acts.Chosen(backend=backend, ids=tuple(letter.id for letter in letters), reason=reason)
        return await _do(call, bus, chosen, act)


async def _do(call: Call, bus: DeadLetters, chosen: acts.Chosen, act: acts.Act) -> Response:
    """Nothing is audited where there is nothing to be done."""
    done = await act(call.deps.stores, call.deps.clock, call.actor, bus, chosen) if chosen.ids else 0
    return answer(DoneView(done))


def _fields(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "event_id": letter.event_id,
        "reason": letter.reason,
        "detail": masked(letter.detail),
        "attempts": letter.attempts,
        "first_at": rfc3339(letter.first_ms),
        "last_at": rfc3339(letter.last_ms),
        "bytes": letter.bytes,
    }


OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/ledger",
        summary="Show per backend where all recorded events are",
        act=show_ledger,
        answer=LedgerView,
    ),
    Operation(
        method="GET",
        path="/manage/dead-letters/{backend}",
        summary="List a backend's dead letters, newest first",
        act=list_dead_letters,
        query=ListLetters,
        answer=list[LetterView],
        is_paged=True,
    ),
    Operation(
        method="GET",
        path="/manage/dead-letters/{backend}/letter",
        summary="Show a dead letter and its event",
        act=show_dead_letter,
        query=ShowLetter,
        answer=LetterDetail,
    ),
    Operation(
        method="POST",
        path="/manage/dead-letters/{backend}/replay",
        summary="Give dead letters back to their backend",
        act=replay_dead_letters,
        body=SomeLetters,
        answer=DoneView,
        scope="pipeline",
        audit_action=acts.REPLAY,
    ),
    Operation(
        method="POST",
        path="/manage/dead-letters/{backend}/replay-all",
        summary="Give all dead letters back, or all of a reason, the newest 2000 in one call",
        act=replay_all_dead_letters,
        body=AllLetters,
        answer=DoneView,
        scope="pipeline",
        audit_action=acts.REPLAY,
    ),
    Operation(
        method="POST",
        path="/manage/dead-letters/{backend}/purge",
        summary="Delete dead letters for good; the ledger counts them",
        act=purge_dead_letters,
        body=SomeLetters,
        answer=DoneView,
        scope="pipeline",
        audit_action=acts.PURGE,
    ),
    Operation(
        method="POST",
        path="/manage/dead-letters/{backend}/purge-all",
        summary="Delete all dead letters for good, or all of a reason, the newest 2000 in one call",
        act=purge_all_dead_letters,
        body=AllLetters,
        answer=DoneView,
        scope="pipeline",
        audit_action=acts.PURGE,
    ),
)
