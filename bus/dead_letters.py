"""Dead letters: events that one backend will never take, kept with the reason until a person decides.

To replay a letter gives its event back to its own group alone, under its own event id; to purge it is counted, so that
the ledger still closes. The embedded log is asked through the keeper, Redis directly: `open_dead_letters` knows which.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from bus.codec import decode_finished
from bus.errors import Undecodable
from bus.event import Body
from config import paths
from config.checks import is_bus_shared
from config.settings import Settings

AT_ONCE: Final = 200
"""Letters per question or transaction when many are listed, replayed or purged."""


class Letter(Struct, frozen=True):
    id: str
    """The bus's own id of the letter, unique within its group for ever."""
    event_id: str
    reason: str
    """A word: permanent, crash_loop, undecodable."""
    detail: str
    attempts: int
    first_ms: int
    """When the bus took the event."""
    last_ms: int
    """When it was given up."""
    bytes: int


class LetterPage(Struct, frozen=True):
    letters: tuple[Letter, ...]
    next: str = ""
    """Given as `before` it continues; empty at the end. A page may be short or empty before the end."""


class OpenedLetter(Struct, frozen=True):
    letter: Letter
    payload: bytes


@runtime_checkable
class DeadLetters(Protocol):
    """Every method raises BusUnavailable when the bus does not answer; asking again does no harm."""

    async def letters(self, group: str, *, reason: str = "", before: str = "", limit: int = AT_ONCE) -> LetterPage:
        """Newest first. An unknown group has none."""
        ...

    async def letter(self, group: str, letter_id: str) -> OpenedLetter | None: ...

    async def replay_letters(self, group: str, ids: Sequence[str]) -> int:
        """Gives events back to the group, atomically with the letters' end; returns how many were there."""
        ...

    async def purge_letters(self, group: str, ids: Sequence[str]) -> int: ...

    async def forget_group(self, group: str) -> bool:
        """Gives up all that the group has and waits for; False when there is none. BusError while it is at work."""
        ...


async def all_letters(bus: DeadLetters, group: str, reason: str = "") -> AsyncIterator[LetterPage]:
    """Page after page, from the newest there is now to the oldest: what dies meanwhile is not among them."""
    before = ""
    while True:
        page = await bus.letters(group, reason=reason, before=before)
        yield page
        if not page.next:
            return
        before = page.next


async def full_page(
    bus: DeadLetters, group: str, *, reason: str, before: str, limit: int, looks: int | None = None
) -> LetterPage:
    """As many as there are, up to `limit`; `next` may lead to an empty page. `looks`: questions at most, since a rare
    reason may lie behind a great many others; the page may then be short before the end."""
    found: list[Letter] = []
    asked = 0
    while True:
        page = await bus.letters(group, reason=reason, before=before, limit=min(AT_ONCE, limit - len(found)))
        found, before, asked = [*found, *page.letters], page.next, asked + 1
        if not before or len(found) >= limit or asked == looks:
            return LetterPage(tuple(found), before)


async def newest_letters(
    bus: DeadLetters, group: str, reason: str = "", *, at_most: int | None = None, through_ms: int | None = None
) -> list[Letter]:
    """`at_most` None: all that there are now. `through_ms`: none that was given up after that."""
    found: list[Letter] = []
    async for page in all_letters(bus, group, reason):
        found += [letter for letter in page.letters if through_ms is None or letter.last_ms <= through_ms]
        if at_most is not None and len(found) >= at_most:
            return found[:at_most]
    return found


async def in_chunks(act: Callable[[list[str]], Awaitable[int]], ids: Sequence[str]) -> int:
    """Replays or purges any number; returns how many were there. Each chunk is done or not; a second run does the
    rest."""
    return sum([await act(list(ids[start : start + AT_ONCE])) for start in range(0, len(ids), AT_ONCE)])


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetters]:
    if not is_bus_shared(settings):
        from bus.inspection import Inspection

        yield Inspection(paths.keeper_socket(settings))
        return
    from bus.redis_bus import open_redis_letters

    async with open_redis_letters(settings) as letters:
        yield letters


def event_id_text(event_id: bytes) -> str:
    return str(uuid.UUID(bytes=event_id)) if len(event_id) == 16 else event_id.hex()


def readable_event(payload: bytes, *, with_bodies: bool) -> dict[str, Any]:
    """The event for a person's eyes; its bodies only when asked for, since they hold what people said."""
    try:
        event = decode_finished(payload)
    except Undecodable as error:
        return {"undecodable": str(error), "bytes": len(payload)}
    told: dict[str, Any] = msgspec.to_builtins(event)
    shown: Callable[[Body], object] = _whole if with_bodies else _outline
    for name in ("request_body", "response_body"):
        if body := getattr(event, name):
            told[name] = shown(body)
    return told


def _outline(body: Body) -> dict[str, Any]:
    return {"bytes": len(body.data), "content_type": body.content_type, "truncated": body.truncated}


def _whole(body: Body) -> dict[str, Any]:
    """Text as text; bytes that are none, or still in their Content-Encoding, as base64."""
    told: dict[str, Any] = {**_outline(body), "content_encoding": body.content_encoding}
    try:
        return {**told, "text": body.data.decode()}
    except UnicodeDecodeError:
        return {**told, "base64": msgspec.to_builtins(body.data)}
