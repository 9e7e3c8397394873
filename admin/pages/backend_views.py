"""Backends as they are shown: the ledger as a sum, the state in a word, and what is stuck in a sentence. Pure."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from admin.acts.actor import masked
from admin.charts import Share, shares
from admin.wording import count, plural, size, span
from bus.inspection import BackendState
from bus.ledger import Account, Ledger
from bus.standing import Standing

Tone = Literal["good", "warn", "bad", "quiet"]
_LOTS: Final = {
    "parking": "it has been away for long, so its events go to the dispatcher's disk",
    "returning": "it is back and gets what was parked first, in order",
    "full": "no room to park more, so its events wait on the bus",
}
LATE_MS: Final = 60_000
"""An event that is younger is on its way, not stuck."""
_TONES: Final[dict[str, Tone]] = {"delivering": "good", "up to date": "good", "starting": "quiet", "stopped": "quiet"}
_WHY: Final = {
    "breaker open": "It has taken nothing for so long that one event at a time asks whether it is back.",
    "waiting": "It is asked again after a pause that grows.",
    "restarting": "Its worker has failed and begins anew.",
    "parked": "It was away for long, so its events lie on a dispatcher's disk until it answers.",
    "behind": "Is a dispatcher running for it? Its log says why it does not get on.",
    "not served": "No dispatcher here delivers to it; the bus keeps all events for it. Name it in DISPATCHER_BACKENDS, "
    "or give it up with `llm-proxy dlq forget`.",
}


class Term(Struct, frozen=True):
    """One part of the sum."""

    name: str
    kind: str
    """Its colour."""
    number: int
    details: tuple[str, ...] = ()
    """What it is made of, where it is more than one thing."""


class BackendView(Struct, frozen=True, kw_only=True):
    name: str
    state: str
    tone: Tone
    why: str
    error: str
    """In the backend's or the bus's words; empty when nothing is wrong."""
    recorded: int
    terms: tuple[Term, ...]
    bar: tuple[Share, ...]
    open: str
    """What nothing accounts for; empty when the sum closes."""
    dead: int
    owed: int
    """Events that it is still to get, parked ones too."""
    oldest_ms: int
    """Age of the oldest of them on the bus; 0 when there is none there."""
    lot: str
    """What its parking lot does; empty when nothing."""
    is_lot_full: bool
    in_flight: int | None
    """None: no dispatcher tells it here."""
    failures: int


class Fact(Struct, frozen=True):
    name: str
    value: str
    tone: Tone = "quiet"


class Trouble(Struct, frozen=True):
    text: str
    backend: str = ""
    """Whose dead letters it is about."""


class Summary(Struct, frozen=True):
    """All backends in a line; without troubles every event is delivered or on its way."""

    backends: int
    owed: int
    troubles: list[Trouble]


def backend_views(stand: Standing) -> list[BackendView]:
    states = {state.name: state for state in stand.stats.backends}
    groups = {group.name: group for group in stand.stats.bus.groups}
    return [
        _view(account, states.get(account.backend), groups[account.backend].oldest_ms, are_told=bool(states))
        for account in stand.ledger.accounts
    ]


def _view(account: Account, state: BackendState | None, oldest_ms: int, *, are_told: bool) -> BackendView:
    terms = _terms(account)
    owed = account.pending + account.waiting + account.parked
    word = _word(account, state, oldest_ms, are_told=are_told)
    return BackendView(
        name=account.backend,
        state=word,
        tone=_tone(word),
        why=_WHY.get(word, ""),
        error=masked(state.error) if state else "",
        recorded=account.recorded,
        terms=terms,
        bar=shares([(term.name, term.kind, term.number) for term in terms]),
        open=_open(account.missing),
        dead=account.dead,
        owed=owed,
        oldest_ms=oldest_ms,
        lot=_LOTS.get(state.lot, "") if state else "",
        is_lot_full=state is not None and state.lot == "full",
        in_flight=state.in_flight if state else None,
        failures=state.failures if state else 0,
    )


def _terms(account: Account) -> tuple[Term, ...]:
    """recorded = delivered + dead + pending + parked + dropped, as the README promises it."""
    gone = {
        "found no room": account.dropped,
        "lost to damage": account.lost,
        "purged": account.purged,
        "from before it was there": account.earlier,
    }
    coming = {"handed out": account.pending, "not handed out yet": account.waiting}
    return (
        Term("delivered", "delivered", account.delivered),
        Term("dead", "dead", account.dead),
        Term("pending", "pending", sum(coming.values()), _details(coming)),
        Term("parked", "parked", account.parked),
        Term("dropped", "dropped", sum(gone.values()), _details(gone)),
    )


def _details(parts: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"{count(number)} {name}" for name, number in parts.items() if number)


def _word(account: Account, state: BackendState | None, oldest_ms: int, *, are_told: bool) -> str:
    """The dispatcher's own word, where it tells one here; else what the bus's figures say."""
    if state is not None:
        return "breaker open" if state.breaker == "open" else state.state
    if are_told:
        return "not served"
    if account.parked:
        return "parked"
    if not account.pending + account.waiting:
        return "up to date"
    return "behind" if oldest_ms >= LATE_MS else "delivering"


def _tone(word: str) -> Tone:
    return _TONES.get(word, "bad" if word == "breaker open" else "warn")


def _open(missing: int) -> str:
    if not missing:
        return ""
    if missing > 0:
        return f"{count(missing)} of them {'is' if missing == 1 else 'are'} accounted for by nothing"
    return f"{count(-missing)} {'is' if missing == -1 else 'are'} counted twice"


class _Relay(Struct, frozen=True):
    """What is shown of RelayStats; a keeper of another version may tell less."""

    spools: int = 0
    bytes: int = 0
    behind_ms: int = 0
    is_bus_away: bool = False
    stopped: dict[str, str] = {}
    lost: int = 0
    unrecoverable: int = 0
    dropped: dict[str, int] = {}
    bodies_dropped: int = 0


def relay_facts(told: Mapping[str, Any]) -> list[Fact]:
    """The relay's and the spools' state; empty when no relay tells it."""
    if not told:
        return []
    relay = msgspec.convert(told, _Relay)
    away = Fact("The bus", "away: events wait in the spools", "warn")
    facts = [away if relay.is_bus_away else Fact("The bus", "takes events")]
    facts.append(Fact("Spools on disk", f"{size(relay.bytes)} in {plural(relay.spools, 'spool')}"))
    if relay.behind_ms:
        facts.append(Fact("Not in the bus yet", f"the oldest for {span(relay.behind_ms)}"))
    gone = {
        "Dropped for want of room": sum(relay.dropped.values()),
        "Lost to damage": relay.lost + relay.unrecoverable,
        "Recorded without bodies": relay.bodies_dropped,
    }
    facts += [Fact(name, plural(number, "event"), "warn") for name, number in gone.items() if number]
    return facts + [Fact(f"Spool {name}", f"not read any more: {why}", "bad") for name, why in relay.stopped.items()]


def open_ledger(ledger: Ledger) -> str:
    """What is open between relay and bus; empty when nothing is."""
    if ledger.relay_missing > 0:
        return f"The bus does not know of {plural(ledger.relay_missing, 'event')} that it was given."
    if ledger.relay_missing < 0:
        return f"The bus has {plural(-ledger.relay_missing, 'event')} that no relay knows of."
    return ""


def summary(stand: Standing, views: list[BackendView]) -> Summary:
    return Summary(len(views), sum(view.owed for view in views), _troubles(stand, views))


def _troubles(stand: Standing, views: list[BackendView]) -> list[Trouble]:
    found = [Trouble(text) for text in [open_ledger(stand.ledger)] if text]
    for view in views:
        found += _of_backend(view)
    found += [Trouble(f"{fact.name}: {fact.value}.") for fact in relay_facts(stand.stats.relay) if fact.tone != "quiet"]
    return found


def _of_backend(view: BackendView) -> list[Trouble]:
    found = []
    if view.open:
        found.append(Trouble(f"The ledger of {view.name} is open: {view.open}."))
    if view.tone in ("warn", "bad") or view.oldest_ms >= LATE_MS:
        wait = f": {plural(view.owed, 'event')} to come, the oldest for {span(view.oldest_ms)}" if view.owed else ""
        found.append(Trouble(f"{view.name} is {view.state.replace('breaker open', 'away, its breaker open')}{wait}."))
    if view.is_lot_full:
        found.append(Trouble(f"The parking lot of {view.name} is full: its events wait on the bus."))
    if view.dead:
        found.append(Trouble(f"{plural(view.dead, 'dead letter')} of {view.name}", view.name))
    return found
