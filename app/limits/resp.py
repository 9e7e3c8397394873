"""One pipelined connection that speaks RESP (Redis protocol spec, version 2): commands out, answers in their order.

redis-py takes about 150 us of a worker's time for a call; this takes a tenth. Whoever does not answer in time is away:
answers come in order, so a late first one makes all behind it late, and the connection is closed.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, cast

import hiredis

_CLOSED: Final = "the connection was closed"


class CountsAway(Exception):
    """Whoever counts does not answer, or answers with an error. What was asked may have been done."""


class Resp(asyncio.Protocol):
    def __init__(self, answer_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer_s = answer_s
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        """Commands without an answer, and when each was sent."""
        self._unsent: list[bytes] = []
        """Of this round of the loop; they go out with one write."""
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.why_closed = ""

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def ask(self, command: bytes) -> "asyncio.Future[Any]":
        """Never raises here; the future raises CountsAway."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None:
            answer.set_exception(CountsAway(self.why_closed or _CLOSED))
            return answer
        now = self._loop.time()
        self._waiting.append((answer, now))
        self._unsent.append(command)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._send)
        if self._watch is None:
            self._watch = self._loop.call_at(now + self._answer_s, self._look)
        return answer

    def close(self, why: str = _CLOSED) -> None:
        self.why_closed = self.why_closed or why
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            answer, _ = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(CountsAway(self.why_closed))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(str(exc) if exc else "the connection was closed by the other side")

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while self._waiting and (said := self._reader.gets()) is not False:
                answer, _ = self._waiting.popleft()
                if isinstance(said, hiredis.ReplyError):
                    self._waiting.appendleft((answer, 0.0))
                    self.close(str(said))  # moved, read-only, script unknown: a new connection sorts it out
                    return
                if not answer.done():
                    answer.set_result(said)
        except hiredis.ProtocolError as error:
            self.close(f"this is no Redis: {error}")

    def _send(self) -> None:
        commands, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(commands))

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        late_at = self._waiting[0][1] + self._answer_s
        if late_at <= self._loop.time():
            self.close(f"no answer for {self._answer_s:g} s")
        else:
            self._watch = self._loop.call_at(late_at, self._look)


def command(words: Sequence[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(map(bulk, words)))


def bulk(word: bytes) -> bytes:
    """A bulk string as it goes over the wire."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


@lru_cache(maxsize=8192)
def number(value: int) -> bytes:
    """One that holds an integer; limits ask for the same few again and again. A bool is 1 or 0."""
    return bulk(b"%d" % value)
