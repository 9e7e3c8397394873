"""A bounded memory of bytes: all of them up to a limit, beyond it the head and the tail.

Long bodies are long because of one long string (an image, a file), and what we look for stands before or behind
it. Head and tail are joined where the middle is left out: when the gap lies inside a string the JSON is still
valid and its outer fields are right; otherwise it does not decode and `scan` looks at the two ends.
"""

from typing import Final

HEAD_BYTES: Final = 64 * 1024
TAIL_BYTES: Final = 64 * 1024


def shorten(whole: bytes, limit: int) -> bytes:
    """`whole`, or its head and tail when it is longer than `limit` (which is larger than both together)."""
    return whole if len(whole) <= limit else whole[:HEAD_BYTES] + whole[-TAIL_BYTES:]


class Kept:
    """Takes pieces, gives what `shorten` would have given for all of them."""

    __slots__ = ("_bytes", "_head", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head: bytes | None = None
        self._bytes = bytearray()

    def add(self, piece: bytes) -> None:
        kept = self._bytes
        kept += piece
        if self._head is None and len(kept) > self._limit:
            self._head = bytes(kept[:HEAD_BYTES])
        if self._head is not None and len(kept) > 2 * TAIL_BYTES:
            del kept[:-TAIL_BYTES]

    def take(self) -> bytes:
        """What was kept; begins anew."""
        kept = bytes(self._bytes) if self._head is None else self._head + bytes(self._bytes[-TAIL_BYTES:])
        self._head = None
        self._bytes = bytearray()
        return kept

    @property
    def is_short(self) -> bool:
        """Whether something was left out."""
        return self._head is not None

    def __bool__(self) -> bool:
        return bool(self._bytes)
