"""The counts that all workers share: in Redis by Lua scripts, or in the owner process by the same commands.

One connection, kept up by a task that also tells who is alive. While it is down everything raises CountsAway at once:
a call never waits for more than `answer_s`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Protocol

from msgspec import Struct

from app.limits.counters import Actual, Answer, Ask, Line
from app.limits.resp import CountsAway, Resp, bulk, number
from config.logs import log

logger = logging.getLogger(__name__)

_CONNECT_S: Final = 2.0
_BEAT_S: Final = 0.5
_ALIVE_MS: Final = 5000  # a worker that has not been heard for so long is not counted
_UNSETTLED_KEPT: Final = 10_000
_KEYS_KEPT: Final = 10_000
_AT_ONCE: Final = 200
_NUMBERS: Final = 6  # that tell of an ask
VERBS: Final = ("reserve", "settle", "extend", "alive")


class Where(Protocol):
    """How to reach whoever counts, and how its commands begin."""

    async def connect(self, make: Callable[[], Resp]) -> Resp: ...

    def verb(self, name: str) -> list[bytes]: ...

    def refused(self, why: str) -> None:
        """The connection has been closed, for this reason."""
        ...


class InOwner(Struct, frozen=True):
    """The owner process of the embedded mode, at its unix socket."""

    path: str

    async def connect(self, make: Callable[[], Resp]) -> Resp:
        return (await asyncio.get_running_loop().create_unix_connection(make, self.path))[1]

    def verb(self, name: str) -> list[bytes]:
        return [name.encode()]

    def refused(self, why: str) -> None:
        """There is one owner, at one place."""


@lru_cache(maxsize=8192)  # a limit asks for the same again and again
def _numbers(*told: int) -> bytes:
    return b"".join(map(number, told))


class SharedCounts:
    """`prefix` names everything of ours at the server; its braces keep all of it in one slot of a cluster."""

    def __init__(
        self, where: Where, *, prefix: str, name: str, answer_s: float, hold_ms: int, least_workers: int = 1
    ) -> None:
        """`least_workers`: so many share a limit at least, whatever a server that has just begun knows of them."""
        self._where, self._name = where, bulk(name.encode())
        self._heads = {verb: [bulk(word) for word in where.verb(verb)] for verb in VERBS}
        self._prefix = b"{%b}:" % prefix.encode()
        self._keys: dict[str, bytes] = {}
        """Of counts, as they go over the wire."""
        self._answer_s, self._hold_ms = answer_s, hold_ms
        self._link: Resp | None = None
        self._unsettled: dict[str, tuple[list[Actual], bool]] = {}
        """Settlements that may not have arrived, and whether they were sent; they are sent again."""
        self._least_workers = self.workers = least_workers
        """How many were alive when last heard."""
        self.why_away = "not connected yet"

    @property
    def is_away(self) -> bool:
        return self._link is None or not self._link.is_open

    async def reserve(self, rid: str, asks: Sequence[Ask]) -> Answer:
        """Raises CountsAway."""
        words = [number(0), bulk(rid.encode()), number(self._hold_ms)]
        words += [_numbers(ask.most, ask.taken, ask.window_ms, ask.is_enforced, ask.keep_ms, ask.seed) for ask in asks]
        count = 3 + _NUMBERS * len(asks)
        status, *lines = await self._ask("reserve", [ask.key for ask in asks], words, count=count)
        return Answer(status, tuple(Line(left, reset, over == 1) for left, reset, over in lines))

    def settle(self, rid: str, actuals: list[Actual]) -> None:
        """Sent at once and not waited for; sent again when it was lost on the way, as far as 10,000 go."""
        is_sent = not self.is_away
        if len(self._unsettled) < _UNSETTLED_KEPT:
            self._unsettled[rid] = actuals, is_sent
        if is_sent:
            self._send_settlement(rid, actuals, is_again=False)

    async def extend(self, held: Sequence[tuple[str, str]]) -> None:
        """Pairs of reservation and key that are still at work; some at a time, since others wait behind them."""
        with suppress(CountsAway):
            for part in (held[at : at + _AT_ONCE] for at in range(0, len(held), _AT_ONCE)):
                words = [number(0), number(self._hold_ms), *(bulk(rid.encode()) for rid, _ in part)]
                await self._ask("extend", [key for _, key in part], words)

    async def keep_up(self) -> None:
        """Runs for the life of the worker."""
        while True:
            if self.is_away:
                await self._connect()
            else:
                with suppress(CountsAway):
                    await self._beat()
            await asyncio.sleep(_BEAT_S)

    async def _beat(self) -> None:
        alive: int = await self._ask("alive", ["workers"], [number(0), self._name, number(_ALIVE_MS)])
        self.workers = max(self._least_workers, alive)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()

    async def _connect(self) -> None:
        was = self.why_away or (self._link.why_closed if self._link else "")
        if self._link is not None:
            self._where.refused(self._link.why_closed)
        try:
            async with asyncio.timeout(_CONNECT_S):
                self._link = await self._where.connect(lambda: Resp(self._answer_s))
                await self._beat()  # one that takes no writes is away
        except (CountsAway, OSError, TimeoutError) as error:
            self.close()
            self.why_away = str(error) or "it cannot be reached"
            if was != self.why_away:
                log(logger, logging.WARNING, "shared limits are away; each worker keeps its share", error=self.why_away)
            return
        log(logger, logging.INFO, "shared limits are counted", after=was)
        self.why_away = ""
        await self._settle_what_is_left()

    async def _settle_what_is_left(self) -> None:
        left = list(self._unsettled.items())
        for at in range(0, len(left), _AT_ONCE):
            for rid, (actuals, was_sent) in left[at : at + _AT_ONCE]:
                self._unsettled[rid] = actuals, True
                self._send_settlement(rid, actuals, is_again=was_sent)
            await asyncio.sleep(0.01)  # others' calls go between

    def _send_settlement(self, rid: str, actuals: list[Actual], *, is_again: bool) -> None:
        words = [bulk(rid.encode()), number(is_again), *(number(actual.amount) for actual in actuals)]
        answer = self._ask("settle", [actual.key for actual in actuals], words)
        answer.add_done_callback(lambda answer: self._settled(rid, answer))

    def _settled(self, rid: str, answer: "asyncio.Future[Any]") -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._unsettled.pop(rid, None)

    def _ask(self, verb: str, names: Sequence[str], words: Sequence[bytes], *, count: int = 0) -> "asyncio.Future[Any]":
        """`words` as they go over the wire, `count` of them where some are joined. The future raises CountsAway."""
        link = self._link
        if link is None:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            answer.set_exception(CountsAway(self.why_away))
            return answer
        keys, head = 2 * len(names), self._heads[verb]
        begin = b"*%d\r\n" % (len(head) + 1 + keys + (count or len(words)))
        return link.ask(b"".join((begin, *head, number(keys), *map(self._key, names), *words)))

    def _key(self, name: str) -> bytes:
        """Of a count: a hash, and a sorted set of holds."""
        found = self._keys.get(name)
        if found is None:
            key = self._prefix + name.encode()
            found = bulk(key) + bulk(key + b":h")
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.clear()
            self._keys[name] = found
        return found
