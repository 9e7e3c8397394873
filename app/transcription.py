"""What was said in one exchange, as far as the record wants it: usage, ids, the first bytes of the reply.

It looks at bytes that are passing anyway and keeps a bounded part of them.
"""

from typing import Final

from msgspec import structs

from app.estimates.estimates import KEPT_BYTES, Heard, is_enough
from app.exchange import Exchange, Headers
from bus.event import Body, Tier
from bus.transcript.call import CallFacts
from bus.transcript.reply import ReplyFacts, ReplyReader
from bus.transcript.usage import tier_of

_NOTHING: Final = ReplyFacts()
EVENT_STREAM: Final = b"text/event-stream"


class Transcription:
    __slots__ = (
        "_keep_bytes",
        "_kept",
        "_max_bytes",
        "_reader",
        "_tier",
        "_told",
        "content_encoding",
        "content_type",
        "is_stream",
        "size",
        "status",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._keep_bytes = 0
        self._tier: Tier = ""
        self._kept: bytes | bytearray = b""  # a reply that comes in one piece is never copied
        self._reader: ReplyReader | None = None
        self._told: ReplyFacts | None = None
        self.content_type = ""
        self.content_encoding = ""
        self.status = 0
        self.size = 0
        self.is_stream = False

    def head(self, exchange: Exchange, status: int, headers: Headers) -> None:
        """The reply's head. Usage is looked for only in what an upstream says with success to a POST.

        A GET of a stored reply tells the usage of its making again, which would be counted twice.
        """
        self.status = status
        heads = dict(headers)
        content_type = heads.get(b"content-type", b"")
        self.content_type = content_type.decode("latin-1")
        if tier := heads.get(b"x-gemini-service-tier"):  # Gemini tells it here only
            self._tier = tier_of(tier.decode("latin-1"))
        self.is_stream = content_type.startswith(EVENT_STREAM)
        self.content_encoding = heads.get(b"content-encoding", b"").decode("latin-1")
        if exchange.facts.upstream_head_ns is not None and status < 400 and exchange.method == "POST":
            self._reader = ReplyReader(
                exchange.provider.dialect, exchange.path, self.content_type, self.content_encoding
            )
        for_counting = KEPT_BYTES if self.is_stream and self._reader is not None else 0
        self._keep_bytes = max(for_counting, self._max_bytes if exchange.facts.recording == "full" else 0)

    def hear(self, exchange: Exchange, chunk: bytes) -> None:
        """A piece of the reply, on its way."""
        self.size += len(chunk)
        if self._reader is not None:
            self._reader.feed(chunk)
        if len(self._kept) < self._keep_bytes:
            self._keep(chunk[: self._keep_bytes - len(self._kept)])

    def _keep(self, piece: bytes) -> None:
        if not self._kept:
            self._kept = piece
            return
        if isinstance(self._kept, bytes):
            self._kept = bytearray(self._kept)
        self._kept += piece

    def call_facts(self, exchange: Exchange) -> CallFacts:
        return exchange.call_facts()

    def reply_facts(self) -> ReplyFacts:
        if self._told is None:
            self._told = _NOTHING if self._reader is None else self._reader.close()
            if self._tier and self._told.usage is not None:
                usage = structs.replace(self._told.usage, service_tier=self._tier)
                self._told = structs.replace(self._told, usage=usage)
        return self._told

    def has_told_all(self) -> bool:
        """Whether a stream's terminal event has passed: what comes after it nobody waits for."""
        return self.is_stream and self._reader is not None and self.reply_facts().is_complete

    def uncounted(self, exchange: Exchange) -> Heard | None:
        """A stream that has told no usage, or only its beginning; None where nothing is to be counted."""
        told = self.reply_facts()
        if not self.is_stream or self._reader is None or is_enough(told, exchange.path):
            return None
        return Heard(
            told=told,
            kept=bytes(self._kept[:KEPT_BYTES]),
            size=self.size,
            content_encoding=self.content_encoding,
            call=exchange.body.seen,
            call_size=exchange.body.size,
            is_abandoned=exchange.facts.cut == "client",
        )

    def body(self) -> Body | None:
        """The first bytes, for the record."""
        kept = bytes(self._kept[: self._max_bytes])
        if not kept:
            return None
        return Body(
            data=kept,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            truncated=self.size > len(kept),
        )
