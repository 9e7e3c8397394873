"""Reads along while a reply passes: which model answered, what it cost, and whether the reply came to its end.

    chunk -> encodings (gzip, ...) -> sse, or a bounded JSON body -> openai | anthropic | gemini -> found

The result depends on the bytes alone, never on how they were cut. Memory is bounded (4 MiB for a JSON body, 1 MiB
for an event), and an event without a marker of its dialect is passed over without being decoded.
"""

from typing import Final, Protocol

from msgspec import Struct

from bus.event import Usage
from bus.transcript import anthropic, gemini, openai, paths, sse
from bus.transcript.encodings import MAX_DECODED_BYTES, Broken, Identity, decoder_for
from bus.transcript.found import Found
from bus.transcript.kept import Kept

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_ROW: Final = 12  # events that are searched for markers together
_FIRST_EVENTS: Final = 8  # decoded to learn the model's name; Azure's first one has none


class ReplyFacts(Struct, frozen=True):
    usage: Usage | None = None
    """None: the provider told none."""
    model: str = ""
    response_id: str = ""
    is_complete: bool = False
    """The reply's own end was seen: its last event, or JSON that is whole. True for what is not read (audio, files)
    and for no body at all: there only the transport knows."""


class Dialect(Protocol):
    """What `openai`, `anthropic` and `gemini` know: each is a module."""

    @property
    def MARKERS(self) -> tuple[bytes, ...]: ...

    @property
    def UNTOLD(self) -> bytes:
        """What looks like a marker and is none; empty when there is no such thing."""
        ...

    def read_event(self, event: sse.Event, found: Found) -> None: ...

    def read_body(self, body: bytes, found: Found) -> None: ...

    def normalised(self, found: Found) -> Usage | None: ...


_DIALECTS: Final[dict[str, Dialect]] = {"openai": openai, "anthropic": anthropic, "gemini": gemini}


class ReplyReader:
    """One per reply. `feed` the response's bytes in order, as they came from the upstream; then `close`, once."""

    def __init__(self, dialect: str, path: str, content_type: str, content_encoding: str) -> None:
        self._dialect = _DIALECTS[paths.told_by(dialect, path).shape]
        decoder = decoder_for(content_encoding)
        self._decoder = decoder or Identity()
        self._reading = _reading(content_type, self._dialect) if decoder else _Unread()
        self._left = MAX_DECODED_BYTES
        self._is_broken = False

    def feed(self, chunk: bytes) -> None:
        """Microseconds for a chunk of a stream. Never raises."""
        if isinstance(self._decoder, Identity):
            self._reading.feed(chunk)
        elif self._left > 0 and not self._is_broken:
            self._feed_encoded(chunk)

    def close(self) -> ReplyFacts:
        """What was found. Never raises."""
        if self._is_broken:
            return ReplyFacts()
        found = self._reading.close()
        return ReplyFacts(self._dialect.normalised(found), found.model, found.response_id, found.is_complete)

    def _feed_encoded(self, chunk: bytes) -> None:
        try:
            for piece in self._decoder.decode(chunk):
                self._reading.feed(piece[: self._left])
                self._left -= len(piece)
                if self._left <= 0:
                    return
        except Broken:
            self._is_broken = True


def _reading(content_type: str, dialect: Dialect) -> "_Stream | _Body | _Unread":
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return _Stream(dialect)
    return _Body(dialect) if kind == "application/json" or kind.endswith("+json") else _Unread()


class _Unread:
    """Audio, files, encodings that we do not know."""

    def feed(self, chunk: bytes) -> None:
        """Passed over."""

    def close(self) -> Found:
        found = Found()
        found.is_complete = True
        return found


class _Stream:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._markers, self._untold = dialect.MARKERS, dialect.UNTOLD
        self._blocks = sse.Blocks()
        self._first_events = _FIRST_EVENTS
        self._found = Found()

    def feed(self, chunk: bytes) -> None:
        blocks = self._blocks.feed(chunk)
        if len(blocks) > 2:
            blocks = self._worth_a_look(blocks)
        for block in blocks:
            if self._first_events or self._may_tell(block):
                self._read(block)

    def _worth_a_look(self, blocks: list[bytes]) -> list[bytes]:
        """Without those that lie in a row of which none has a marker: most of what comes in a burst."""
        kept, rest = blocks[: self._first_events], blocks[self._first_events :]
        for at in range(0, len(rest), _ROW):
            row = rest[at : at + _ROW]
            if self._may_tell(b"\n".join(row)):
                kept += row
        return kept

    def _may_tell(self, text: bytes) -> bool:
        if self._untold:
            text = text.replace(self._untold, b"")
        for marker in self._markers:  # noqa: SIM110 - any() over a generator takes four times as long
            if marker in text:
                return True
        return False

    def _read(self, block: bytes) -> None:
        event = sse.parse(block)
        if event is None:
            return
        self._dialect.read_event(event, self._found)
        if self._first_events:
            self._first_events = 0 if self._found.model else self._first_events - 1

    def close(self) -> Found:
        return self._found


class _Body:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._kept = Kept(MAX_BODY_BYTES)

    def feed(self, chunk: bytes) -> None:
        self._kept.add(chunk)

    def close(self) -> Found:
        found = Found()
        is_short, body = self._kept.is_short, self._kept.take()
        if not body:
            found.is_complete = True
            return found
        self._dialect.read_body(body, found)
        if is_short and body.rstrip().endswith((b"}", b"]")):
            found.is_complete = True
        return found
