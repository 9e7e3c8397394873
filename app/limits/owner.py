"""The owner of the counts where there is no Redis: one process that all workers of a host ask, at a unix socket.

It speaks the four commands that Redis runs as scripts. Commands that come together are noted together, and answered
only then: an owner that is killed goes on where it was.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import hiredis

from app.limits.counters import Actual, Answer, Ask, Counters
from app.limits.journal import Journal
from config.ending import told_to_end
from config.logs import log

logger = logging.getLogger(__name__)

_TIDY_EVERY_S: Final = 30.0
_KEYS_OF_A_COUNT: Final = 2  # Redis has a hash and a sorted set for each; here they are one


class Owner:
    """Its time never goes back and never stands still: where the wall clock is behind, time passes as it does here."""

    def __init__(
        self,
        journal: Journal,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._journal, self._clock, self._monotonic = journal, now_ms, monotonic_ms
        self._now, self._at = 0, monotonic_ms()
        self._counters = Counters()
        self._workers: dict[str, int] = {}
        for told in journal.told():
            if isinstance(told, dict):
                self._counters, self._now = Counters.restored(told["counts"]), told["now_ms"]
            else:
                self._now, words = told
                self._do(words, self._now)
        self._begin_journal()

    def answer(self, commands: Sequence[list[bytes]]) -> list[Any]:
        """Does them, notes them, and says what came of them. Raises OSError when they could not be noted."""
        self._pass_time()
        answers = [self._do(words, self._now) for words in commands]
        lasting = [[self._now, words] for words in commands if words[0] in (b"reserve", b"settle", b"extend")]
        if lasting:
            self._journal.note(lasting)
        return answers

    def tidy(self) -> None:
        """Now and then, between two answers: with 100,000 counts a new journal takes a tenth of a second."""
        self._pass_time()
        self._counters.forget_old(self._now)
        if self._journal.is_long:
            try:
                self._begin_journal()
            except OSError as error:
                log(logger, logging.WARNING, "the journal of limits stays long", error=str(error))

    def _pass_time(self) -> None:
        at = self._monotonic()
        self._now, self._at = max(self._clock(), self._now + at - self._at), at

    def close(self) -> None:
        self._journal.close()

    def _begin_journal(self) -> None:
        self._journal.begin({"now_ms": self._now, "counts": self._counters.state()})

    def _do(self, words: list[bytes], now_ms: int) -> Any:
        behind_keys = 2 + int(words[1])
        keys = [key.decode() for key in words[2:behind_keys:_KEYS_OF_A_COUNT]]
        rest = words[behind_keys:]
        match words[0]:
            case b"reserve":
                return self._reserve(keys, rest, now_ms)
            case b"settle":
                actuals = [Actual(key, int(amount)) for key, amount in zip(keys, rest[2:], strict=True)]
                self._counters.settle(rest[0].decode(), actuals, now_ms, is_again=rest[1] == b"1")
            case b"extend":
                held = zip((rid.decode() for rid in rest[2:]), keys, strict=True)
                self._counters.extend(held, now_ms, int(rest[1]))
            case b"alive":
                return self._alive(rest[1].decode(), int(rest[2]), now_ms)
            case unknown:
                raise ValueError(f"no command {unknown!r}")
        return 1

    def _reserve(self, keys: Sequence[str], rest: Sequence[bytes], now_ms: int) -> list[Any]:
        asks = [_ask(key, rest[3 + 6 * number : 9 + 6 * number]) for number, key in enumerate(keys)]
        answer: Answer = self._counters.reserve(rest[1].decode(), asks, now_ms, int(rest[2]))
        return [answer.status, *([line.remaining, line.reset_ms, int(line.is_over)] for line in answer.lines)]

    def _alive(self, name: str, for_ms: int, now_ms: int) -> int:
        self._workers[name] = now_ms
        self._workers = {name: at for name, at in self._workers.items() if at > now_ms - for_ms}
        return len(self._workers)


def _ask(key: str, words: Sequence[bytes]) -> Ask:
    most, taken, window_ms, enforced, keep_ms, seed = words
    return Ask(key, int(most), int(taken), int(window_ms), enforced == b"1", int(keep_ms), int(seed))


class _Talk(asyncio.Protocol):
    """One worker's connection. What cannot be understood or noted ends it; the worker keeps its share then."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            commands = []
            while (words := self._reader.gets()) is not False:
                commands.append(words)
            answers = self._owner.answer(commands)
        except (OSError, ValueError, TypeError, IndexError, hiredis.ProtocolError) as error:
            log(
                logger,
                logging.ERROR,
                "a worker's limits could not be counted",
                error=f"{type(error).__name__}: {error}",
            )
            self._transport.abort()
            return
        self._transport.write(b"".join(_encoded(answer) for answer in answers))


def _encoded(answer: Any) -> bytes:
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    return b"*%d\r\n" % len(answer) + b"".join(_encoded(part) for part in answer)


async def own_until_told(folder: Path, socket: Path) -> None:
    """Until SIGTERM or SIGINT."""
    await own(folder, socket, told_to_end())


async def own(folder: Path, socket: Path, stop: asyncio.Event) -> None:
    """Serves until `stop`. Raises OSError when the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = Owner(Journal(folder / "counts"))
    socket.unlink(missing_ok=True)
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Talk(owner), str(socket))
    socket.chmod(0o600)
    log(logger, logging.INFO, "limits are counted here", socket=str(socket))
    try:
        while not stop.is_set():
            owner.tidy()
            try:
                async with asyncio.timeout(_TIDY_EVERY_S):
                    await stop.wait()
            except TimeoutError:
                continue
    finally:
        server.close()
        owner.close()
        socket.unlink(missing_ok=True)
