"""Scripts for the upstream: a document, an event stream, bytes; always on the path where the provider has it."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from tests.support.upstream import Received, Upstream, Wire

Header = tuple[bytes, bytes]
EVENT_STREAM: Header = (b"content-type", b"text/event-stream; charset=utf-8")
OPENAI_HEADERS: tuple[Header, ...] = (
    (b"x-request-id", b"req_2f0c1b"),
    (b"openai-processing-ms", b"12"),
    (b"x-ratelimit-remaining-requests", b"9999"),
)


def answers(upstream: Upstream, path: str, document: Any, *headers: Header, status: int = 200) -> None:
    """JSON, or bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    kind = () if any(n == b"content-type" for n, _ in headers) else ((b"content-type", b"application/json"),)

    @upstream.on(path)
    async def answer(received: Received, wire: Wire) -> None:
        await wire.reply(status, body, *kind, *headers)


def streams(upstream: Upstream, path: str, events: Iterable[bytes], *headers: Header, cut_every: int = 0) -> None:
    """An event a chunk, or with `cut_every` chunks of that many bytes, wherever they fall."""
    pieces = list(events)
    if cut_every:
        whole = b"".join(pieces)
        pieces = [whole[at : at + cut_every] for at in range(0, len(whole), cut_every)]

    @upstream.on(path)
    async def answer(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM, *headers)
        for piece in pieces:
            await wire.chunk(piece)
        await wire.end()


def breaks_after(upstream: Upstream, path: str, events: Iterable[bytes], *, half: bytes = b"") -> None:
    """A stream whose connection dies before its end, with `half` of an event on its way."""
    pieces = list(events)

    @upstream.on(path)
    async def answer(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        for piece in pieces:
            await wire.chunk(piece)
        await wire.send(b"400\r\n" + half)
        await asyncio.sleep(0.05)  # it shall be on its way; an abort would take it back
        wire.cut()


def sent_json(upstream: Upstream) -> Any:
    """The body that arrived last."""
    return json.loads(upstream.received[-1].body)


def data_events(*documents: Any) -> list[bytes]:
    """OpenAI's chat form: data lines alone, `[DONE]` at the end."""
    return [b"data: %b\n\n" % json.dumps(d).encode() for d in documents] + [b"data: [DONE]\n\n"]


def named_events(*documents: dict[str, Any]) -> list[bytes]:
    """The form of responses and messages: each event is named by its type."""
    return [b"event: %b\ndata: %b\n\n" % (d["type"].encode(), json.dumps(d).encode()) for d in documents]
