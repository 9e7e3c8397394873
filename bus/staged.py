"""What is written of an event, by how much room is left: all of it, from 90 % on without bodies, at the end nothing.

Whatever is left out is counted on disk before the call goes on, in a file that was allocated beforehand.
"""

import contextlib
import threading
import time
from pathlib import Path

import msgspec
import zstandard

from bus.checkpoint import Counts
from bus.codec import encode
from bus.errors import SpoolFull
from bus.event import Body, ExchangeBegan, ExchangeFinished
from bus.frames import Codec, Flag
from bus.journal import Journal
from bus.quota import TIGHT
from bus.slots import Slots


class Losses:
    """Counters of what this worker left out. Safe for threads; they survive any death of the process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.counts = Counts()
        self._file = Slots.open(path, Counts)
        self._lock = threading.Lock()

    def dropped(self, reason: str) -> None:
        with self._lock:
            self.counts.dropped[reason] = self.counts.dropped.get(reason, 0) + 1
            self._write()

    def without_bodies(self) -> None:
        with self._lock:
            self.counts.bodies_dropped += 1
            self._write()

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the next one writes the sum again
            self._file.write(self.counts, durable=False)


class StagedWriter:
    def __init__(self, journal: Journal, losses: Losses) -> None:
        self._journal, self._losses = journal, losses

    def began(self, event: ExchangeBegan) -> None:
        """Raises SpoolFull."""
        self._journal.began(_id_bytes(event.event_id), encode(event), event.accepted_at_ms)

    def finished(self, event: ExchangeFinished, payload: bytes) -> int | None:
        """The seq; None when there was no room at all, which is then counted. `payload` is the encoded event."""
        return self._finished(event, payload, Codec.PLAIN)

    def finished_large(self, event: ExchangeFinished, payload: bytes) -> int | None:
        """The same, compressed. Takes milliseconds."""
        return self._finished(event, zstandard.compress(payload, 1), Codec.ZSTD)

    def _finished(self, event: ExchangeFinished, payload: bytes, codec: Codec) -> int | None:
        event_id, now_ms = _id_bytes(event.event_id), time.time_ns() // 1_000_000
        if not _has_bodies(event) or self._journal.level() < TIGHT:
            try:
                return self._journal.finished(event_id, payload, now_ms, codec=codec)
            except SpoolFull as full:
                if not _has_bodies(event):
                    self._drop(event_id, now_ms, full)
                    return None
        try:
            bare = encode(_without_bodies(event))
            seq = self._journal.finished(event_id, bare, now_ms, flags=Flag.BODIES_DROPPED)
        except SpoolFull as full:
            self._drop(event_id, now_ms, full)
            return None
        self._losses.without_bodies()
        return seq

    def _drop(self, event_id: bytes, now_ms: int, full: SpoolFull) -> None:
        self._journal.dropped(event_id, now_ms)
        self._losses.dropped(str(full))


def _id_bytes(text: str) -> bytes:
    """As `config.ids.id_bytes`, which takes four times as long and would be a fifth of what a record costs."""
    raw = bytes.fromhex(text.replace("-", ""))
    if len(raw) != 16:
        raise ValueError(f"{text!r} is no event id")
    return raw


def _has_bodies(event: ExchangeFinished) -> bool:
    asked, answered = event.request_body, event.response_body
    return bool((asked and asked.data) or (answered and answered.data))


def _without_bodies(event: ExchangeFinished) -> ExchangeFinished:
    return msgspec.structs.replace(
        event, request_body=_emptied(event.request_body), response_body=_emptied(event.response_body)
    )


def _emptied(body: Body | None) -> Body | None:
    return body and msgspec.structs.replace(body, data=b"", truncated=True)
