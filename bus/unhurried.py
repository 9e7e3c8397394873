"""The queue of record=async: events wait some milliseconds for the flusher's thread. A kill -9 costs what is in it."""

from collections import deque
from typing import Final

from bus.codec import encode
from bus.errors import SpoolFull
from bus.event import ExchangeBegan, ExchangeFinished
from bus.staged import Losses, StagedWriter

_MAX_BYTES: Final = 64 * 1024**2
_LARGE_BYTES: Final = 64 * 1024


class UnhurriedWriter:
    """`put` on the loop, `flush` on one other thread."""

    def __init__(self, writer: StagedWriter, losses: Losses) -> None:
        self._writer, self._losses = writer, losses
        self._queue: deque[ExchangeBegan | ExchangeFinished] = deque()
        self._bytes_in = self._bytes_out = 0  # one each, so that neither side needs a lock

    def put(self, event: ExchangeBegan | ExchangeFinished) -> None:
        """Beyond 64 MiB of waiting events: left out and counted."""
        size = _rough_bytes(event)
        if self._bytes_in - self._bytes_out + size > _MAX_BYTES:
            if isinstance(event, ExchangeFinished):
                self._losses.dropped("queue_full")
            return
        self._bytes_in += size
        self._queue.append(event)

    def flush(self) -> None:
        while self._queue:
            event = self._queue.popleft()
            self._bytes_out += _rough_bytes(event)
            self._write(event)

    def _write(self, event: ExchangeBegan | ExchangeFinished) -> None:
        if isinstance(event, ExchangeBegan):
            try:
                self._writer.began(event)
            except SpoolFull:
                return  # the end is counted, if it finds no room either
        else:
            payload = encode(event)
            write = self._writer.finished_large if len(payload) > _LARGE_BYTES else self._writer.finished
            write(event, payload)


def _rough_bytes(event: ExchangeBegan | ExchangeFinished) -> int:
    if isinstance(event, ExchangeBegan):
        return 500
    return 2000 + sum(len(body.data) for body in (event.request_body, event.response_body) if body)
