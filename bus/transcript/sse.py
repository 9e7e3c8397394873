"""Server-sent events out of bytes, as the WHATWG standard reads them, however the bytes were cut.

Two steps, because most events need only be passed over: `Blocks` cuts the stream at blank lines, which is a split
of bytes; `parse` reads the fields of one block. An event over 1 MiB is shortened (`kept`), never held whole.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from typing import Final

from msgspec import Struct

from bus.transcript.kept import Kept, shorten

MAX_EVENT_BYTES: Final = 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_COLON: Final = 58


class Event(Struct, frozen=True):
    name: str
    """The `event:` field; empty when there was none."""
    data: bytes
    """The `data:` lines, joined by line feeds."""


class Blocks:
    """Cuts a stream into the blocks between blank lines, with line ends as line feeds."""

    __slots__ = ("_after_cr", "_begins", "_newline", "_rest")

    def __init__(self) -> None:
        self._rest = Kept(MAX_EVENT_BYTES)
        self._newline = b""
        """A line feed that the last piece ended with: the next one may make it a blank line."""
        self._after_cr = False
        self._begins: bytes | None = b""
        """What may still turn out to be a byte order mark; None once that is settled."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The blocks that this chunk completes. A block at the end without its blank line never is one."""
        if self._begins is not None:
            chunk = self._without_bom(chunk)
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        if not chunk:
            return []
        *done, rest = (self._newline + chunk).split(b"\n\n")
        self._newline = b"\n" if rest.endswith(b"\n") else b""
        if done and self._rest:
            self._rest.add(done[0])
            done[0] = self._rest.take()
        if rest:
            self._rest.add(rest[:-1] if self._newline else rest)
        if len(chunk) > MAX_EVENT_BYTES:  # else none of its blocks is, and the rest knows its bound
            return [shorten(block, MAX_EVENT_BYTES) for block in done]
        return done

    def _without_bom(self, chunk: bytes) -> bytes:
        start = (self._begins or b"") + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._begins = start
            return b""
        self._begins = None
        return start.removeprefix(_BOM)

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """CR and CRLF are line ends too; a CR at the end counts at once, and a line feed behind it belongs to it."""
        if not chunk:
            return chunk
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
            if not chunk:
                return chunk
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse(block: bytes) -> Event | None:
    """The event of a block; None when it has no `data:` line."""
    name, lines = b"", []
    for line in block.split(b"\n"):
        if not line or line[0] == _COLON:
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(name.decode("utf-8", "replace"), b"\n".join(lines)) if lines else None
