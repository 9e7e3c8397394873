"""Asking the keeper: admin and CLI may not open the embedded log, so they ask the process that has it.

A unix stream socket in DATA_DIR, mode 0600. One JSON object a line each way: `{"ask": "stats"}` is answered by
`{"ok": {...}}` or `{"error": "..."}`. Dead letters of the embedded log are asked for here too (`bus.dead_letters`).
More verbs are more lines in `_Desk._told`.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from bus.bus import Bus, BusStats
from bus.dead_letters import AT_ONCE, DeadLetters, LetterPage, OpenedLetter
from bus.errors import BusError, BusUnavailable
from bus.unix_sockets import address, is_heard

_ASK_BYTES: Final = 64 * 1024  # a question is short
_ANSWER_BYTES: Final = 64 * 1024**2  # an event with its bodies, as base64
_IDLE_S: Final = 30.0  # a client that says nothing for so long is let go
_ANSWER_S: Final = 5.0
_MAX_CLIENTS: Final = 32


State = Literal["starting", "delivering", "waiting", "restarting", "stopped"]
LotState = Literal["off", "parking", "returning", "full"]


class BackendState(Struct, frozen=True):
    """How one backend of the dispatcher is doing."""

    name: str
    state: State
    """`waiting`: the backend or the bus is away, and is asked again with backoff."""
    failures: int = 0
    """Failed deliveries in a row."""
    error: str = ""
    """Why it waits; empty when it does not."""
    breaker: Literal["closed", "open"] = "closed"
    """`open`: it has taken nothing for so long that one event at a time asks whether it is back."""
    opened: int = 0
    """How often the breaker has opened. This and the counts below are of this process, the bus's are of all."""
    delivered: int = 0
    retried: int = 0
    buried: int = 0
    in_flight: int = 0
    """Events that are being delivered."""
    in_flight_bytes: int = 0
    parked: int = 0
    """Events that this process has on disk, since the backend was away for long; the bus knows those of all."""
    lot: LotState = "off"
    """`full`: there is no room to park more, so they wait on the bus."""


class KeeperStats(Struct, frozen=True):
    bus: BusStats
    relay: dict[str, Any] = {}
    """The relay's counters, as its RelayStats names them; empty without a relay."""
    backends: tuple[BackendState, ...] = ()


class HasStats(Protocol):
    """The relay, as far as it is asked here."""

    def stats(self) -> Struct: ...


class Inspection:
    """The asking side. One connection a question: nothing to keep open, nothing to go stale."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def stats(self) -> KeeperStats:
        """Raises BusUnavailable when no keeper answers."""
        return msgspec.convert(await self._ask("stats"), KeeperStats)

    async def relay(self) -> dict[str, Any]:
        """The relay's counters alone, also while the bus is away; empty without a relay."""
        return msgspec.convert(await self._ask("relay"), dict[str, Any])

    async def letters(self, group: str, *, reason: str = "", before: str = "", limit: int = AT_ONCE) -> LetterPage:
        answer = await self._ask("letters", group=group, reason=reason, before=before, limit=limit)
        return msgspec.convert(answer, LetterPage)

    async def letter(self, group: str, letter_id: str) -> OpenedLetter | None:
        return msgspec.convert(await self._ask("letter", group=group, ids=[letter_id]), OpenedLetter | None)

    async def replay_letters(self, group: str, ids: Sequence[str]) -> int:
        return msgspec.convert(await self._ask("replay", group=group, ids=ids), int)

    async def purge_letters(self, group: str, ids: Sequence[str]) -> int:
        return msgspec.convert(await self._ask("purge", group=group, ids=ids), int)

    async def forget_group(self, group: str) -> bool:
        return msgspec.convert(await self._ask("forget", group=group), bool)

    async def _ask(self, what: str, **of: object) -> object:
        try:
            async with asyncio.timeout(_ANSWER_S):
                line = await self._exchange(msgspec.json.encode({"ask": what, **of}) + b"\n")
            answer = msgspec.json.decode(line, type=_Answer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            raise BusUnavailable(f"no keeper answers at {self._path}; start `llm-proxy server`") from error
        if answer.error:
            raise BusUnavailable(answer.error)
        return answer.ok

    async def _exchange(self, question: bytes) -> bytes:
        with address(self._path) as at:
            reader, writer = await asyncio.open_unix_connection(at, limit=_ANSWER_BYTES)
        try:
            writer.write(question)
            await writer.drain()
            return await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("the answer is too long") from error
        finally:
            writer.close()


@asynccontextmanager
async def serve_inspection(
    path: Path,
    bus: Bus,
    relay: HasStats | None = None,
    backends: Callable[[], Sequence[BackendState]] = tuple,
) -> AsyncIterator[None]:
    """Answers until the block ends. A socket that a dead keeper left behind is replaced; BusError when one lives."""
    desk = _Desk(bus, relay, backends)
    listener = _listen(path)
    server = await asyncio.start_unix_server(desk.serve, sock=listener, limit=_ASK_BYTES)
    try:
        yield
    finally:
        server.close()
        desk.hang_up()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


class _Question(Struct):
    ask: Literal["stats", "relay", "letters", "letter", "replay", "purge", "forget"]
    group: str = ""
    reason: str = ""
    before: str = ""
    limit: Annotated[int, Meta(ge=1, le=AT_ONCE)] = AT_ONCE
    ids: Annotated[tuple[str, ...], Meta(max_length=AT_ONCE)] = ()


class _Answer(Struct, omit_defaults=True):
    ok: Any = None
    error: str = ""


class _Desk:
    """Answers one client after the other's line; a bad line gets an error, a too long one a hang-up."""

    def __init__(self, bus: Bus, relay: HasStats | None, backends: Callable[[], Sequence[BackendState]]) -> None:
        self._bus = bus
        self._relay = relay
        self._backends = backends
        self._clients: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= _MAX_CLIENTS:
            writer.close()
            return
        self._clients.add(writer)
        try:
            while line := await self._line(reader):
                writer.write(msgspec.json.encode(await self.answer(line)) + b"\n")
                async with asyncio.timeout(_ANSWER_S):
                    await writer.drain()
        except (OSError, TimeoutError):
            pass  # the client is gone or silent; there is nobody to tell
        finally:
            self._clients.discard(writer)
            writer.close()

    async def answer(self, line: bytes) -> _Answer:
        try:
            question = msgspec.json.decode(line, type=_Question)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _Answer(error=f'expected a line like {{"ask": "stats"}} ({str(error)[:100]})')
        try:
            async with asyncio.timeout(_ANSWER_S):
                return _Answer(ok=await self._told(question))
        except (BusError, TimeoutError) as error:
            return _Answer(error=str(error) or "the event log is busy; ask again")

    def hang_up(self) -> None:
        for writer in self._clients:
            writer.close()

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """Empty at the end of the talk, be it by a line that never ends."""
        try:
            async with asyncio.timeout(_IDLE_S):
                return await reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return b""

    async def _told(self, question: _Question) -> object:
        if question.ask == "stats":
            return await self._stats()
        if question.ask == "relay":
            return self._relay_stats()
        bus, group = self._bus, question.group
        if not isinstance(bus, DeadLetters):
            raise BusError("this keeper's bus is Redis, which keeps the dead letters itself; set REDIS_URL here too")
        match question.ask:
            case "letters":
                return await bus.letters(group, reason=question.reason, before=question.before, limit=question.limit)
            case "letter":
                return await bus.letter(group, question.ids[0]) if question.ids else None
            case "replay":
                return await bus.replay_letters(group, question.ids)
            case "purge":
                return await bus.purge_letters(group, question.ids)
            case "forget":
                if group in {backend.name for backend in self._backends()}:
                    raise BusError(f"the backend {group} is at work here; take it out of the settings first")
                return await bus.forget_group(group)

    async def _stats(self) -> KeeperStats:
        return KeeperStats(await self._bus.stats(), self._relay_stats(), tuple(self._backends()))

    def _relay_stats(self) -> Any:
        return msgspec.to_builtins(self._relay.stats()) if self._relay else {}


def _listen(path: Path) -> socket.socket:
    if is_heard(path, socket.SOCK_STREAM):
        raise BusError(f"another keeper answers at {path}; stop it first")
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(
            listener.fileno(), 0o600
        )  # on Linux the socket is born with it: no moment in which others may connect
        with address(path) as at:
            listener.bind(at)
        path.chmod(0o600)
    except OSError as error:
        listener.close()
        raise BusError(f"{path} cannot be made ({error.strerror or error}); is DATA_DIR writable?") from error
    return listener
