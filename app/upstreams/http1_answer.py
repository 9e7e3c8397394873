"""The answer to one request, as llhttp (httptools) reads it off the wire, in pieces of any size.

llhttp is strict: obs-fold, a bare LF, double or conflicting lengths and bad chunks are errors. What it lets through and
we do not: another transfer coding than `chunked`, 101, heads beyond the bounds, a second answer.
"""

from collections import deque
from typing import Final

import httptools

from app.errors import UpstreamCut
from app.upstreams.upstream import Headers

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 256
_MAX_INTERIM: Final = 32  # 1xx answers before the real one
_BODILESS: Final = (204, 304)
_NOT_HTTP: Final = "The upstream answered with something that is not valid HTTP."


class ClosedUnanswered(Exception):
    """The connection closed before a byte of the answer came: it may have been stale."""


class Answer:
    __slots__ = (
        "_head_bytes",
        "_interim",
        "_is_delimited",
        "_method",
        "_parser",
        "error",
        "has_head",
        "headers",
        "held",
        "is_complete",
        "may_stay_open",
        "pieces",
        "status",
    )

    def __init__(self, method: str) -> None:
        self._method = method
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._interim = 0
        self._is_delimited = False
        self.status = 0
        self.headers: Headers = []
        """Lower-case names."""
        self.pieces: deque[bytes] = deque()
        """Of the body, as far as nobody has taken them."""
        self.held = 0
        """Bytes in them."""
        self.has_head = False
        self.is_complete = False
        self.may_stay_open = False
        """Whether the connection can serve another request, once this answer is complete."""
        self.error: Exception | None = None

    def feed(self, data: bytes) -> None:
        if self._parser is None:
            self.may_stay_open = False  # more than one answer to one request
            return
        if not self.has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._broken(_NOT_HTTP)
        if not self.has_head and self._head_bytes > _MAX_HEAD_BYTES:
            self._broken("The upstream's response head is too large.")
        if self.is_complete:
            self._parser = None  # it holds us, and we hold it

    def end(self, error: Exception | None) -> None:
        """The connection is gone, with or without an error."""
        if self.has_head and not self._is_delimited and error is None and self.error is None:
            self.is_complete = True  # a body without a length ends with the connection
        elif not self.is_complete and self.error is None:
            self.error = self._cut()
        self._parser = None  # it holds us, and we hold it

    def taken(self) -> bytes:
        """All that has come and was not taken."""
        data = self.pieces.popleft() if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        self.held = 0
        return data

    # What the parser calls

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.may_stay_open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:
            return  # a trailer
        self.headers.append((name.lower(), value))
        if len(self.headers) > _MAX_HEADERS:
            self._broken("The upstream's response head has too many fields.")

    def on_headers_complete(self) -> None:
        if self._parser is None or self.is_complete or self.error is not None:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._note_interim(status)
            return
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            self._broken("The upstream answered in a transfer coding that is not supported.")
            return
        self._is_delimited = bool(codings) or any(name == b"content-length" for name, _ in self.headers)
        self.status, self.has_head = status, True
        self.may_stay_open = self._parser.should_keep_alive()
        if self._method == "HEAD" or status in _BODILESS:
            self.is_complete = True

    def on_body(self, data: bytes) -> None:
        if not self.is_complete and self.error is None:
            self.pieces.append(data)
            self.held += len(data)

    def on_message_complete(self) -> None:
        if self.has_head and self.error is None:
            self.is_complete = True

    def _note_interim(self, status: int) -> None:
        self._interim += 1
        self.headers.clear()
        if status == 101 or self._interim > _MAX_INTERIM:
            self._broken(_NOT_HTTP)

    def _broken(self, reason: str) -> None:
        self.may_stay_open = False
        if self.error is None and not self.is_complete:
            self.error = UpstreamCut(reason)

    def _cut(self) -> Exception:
        if self.has_head:
            return UpstreamCut("The upstream closed the connection in the middle of its answer.")
        if self._head_bytes:
            return UpstreamCut("The upstream closed the connection in the middle of its head.")
        return ClosedUnanswered()
