"""The upstream of the bench, a process of its own: as little work per answer as Python can do.

`python -m tests.bench.mock_upstream [server.pem]` prints its port, and that of TLS when it has a certificate.
It speaks enough HTTP/1.1 for our own load generator and for what is measured, and trusts both. The query says what to
do; whoever cannot send one puts it before the path (`/events=50&burst=1/v1/chat/completions`):
    POST /v1/chat/completions                                   1 KiB of JSON
    POST /v1/chat/completions?events=50&gap_ms=10&spread=1      a stream; each event carries the time of its sending
    POST /v1/chat/completions?events=50&burst=1                 the same events at once, made before
    POST /v1/chat/completions?drip=10                           a byte a second, ten of them
    POST /v1/files[?stall=1]                                    swallows the body (or does not take it), says its size
    GET  /v1/files/f/content?bytes=N                            N bytes as fast as they are taken
    GET  /sent                                                  bytes of content, and events, taken so far
"""

import asyncio
import functools
import json
import random
import ssl
import sys
import time
from collections.abc import Coroutine
from typing import Final, cast
from urllib.parse import parse_qsl

import uvloop

_PIECE: Final = bytes(64 * 1024)
_USAGE: Final = {"prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180}
STAMP_DIGITS: Final = 19
"""Nanoseconds of the monotonic clock, which all processes of one machine share."""


def _chat_reply() -> bytes:
    message = {"role": "assistant", "content": ""}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1741569952, "model": "gpt-4.1"}
    whole = {**head, "choices": [choice], "usage": _USAGE}
    message["content"] = "x" * (1024 - len(json.dumps(whole)))
    body = json.dumps(whole).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _event(stamp: int) -> bytes:
    choice = b'{"index":0,"delta":{"content":"@%019d"},"logprobs":null,"finish_reason":null}' % stamp
    return (
        b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1",'
        b'"service_tier":"default","choices":[' + choice + b'],"usage":null}\n\n'
    )


_CHAT: Final = _chat_reply()
_STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_STREAM_TAIL: Final = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"gpt-4.1","choices":[],"usage":'
    + json.dumps(_USAGE).encode()
    + b"}\n\ndata: [DONE]\n\n"
)


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n" % len(payload) + payload + b"\r\n"


@functools.cache
def _burst(events: int) -> bytes:
    return _STREAM_HEAD + _chunk(_event(0)) * events + _chunk(_STREAM_TAIL) + b"0\r\n\r\n"


def _asked(target: str) -> tuple[str, dict[str, str]]:
    """Path, and what to do."""
    path, _, query = target.partition("?")
    first = path.split("/", 2)[1]
    if "=" in first:
        path, query = path.removeprefix(f"/{first}"), first
    return path, dict(parse_qsl(query))


class Upstream(asyncio.Protocol):
    sent = 0

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._swallowed = 0
        self._to_swallow: int | None = None
        self._is_chunked = False
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own, which is none by name

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, piece: bytes) -> None:
        if self._to_swallow is not None:
            self._swallow(piece)
            return
        self._buffer += piece
        end = self._buffer.find(b"\r\n\r\n")
        if end >= 0:
            head, rest = bytes(self._buffer[:end]).lower(), bytes(self._buffer[end + 4 :])
            self._buffer.clear()
            self._begin(head, rest)

    def _begin(self, head: bytes, rest: bytes) -> None:
        line, *fields = head.split(b"\r\n")
        headers = dict(f.split(b": ", 1) if b": " in f else f.split(b":", 1) for f in fields)
        self._path, self._query = _asked(line.split(b" ")[1].decode())
        self._is_chunked = b"transfer-encoding" in headers
        self._swallowed, self._tail = 0, b""
        self._to_swallow = sys.maxsize if self._is_chunked else int(headers.get(b"content-length", b"0"))
        if "stall" in self._query:
            self._transport.pause_reading()
            return
        self._swallow(rest)

    def _swallow(self, piece: bytes) -> None:
        """Counts the body without keeping it. A chunked one is counted with its framing."""
        assert self._to_swallow is not None
        self._swallowed += len(piece)
        if self._is_chunked:
            self._tail = (self._tail + piece)[-5:]
        if self._swallowed >= self._to_swallow or (self._is_chunked and self._tail == b"0\r\n\r\n"):
            self._to_swallow = None
            self._answer()

    def _answer(self) -> None:
        if "burst" in self._query:
            self._transport.write(_burst(int(self._query["events"])))
        elif "drip" in self._query:
            self._run(self._drip(int(self._query["drip"])))
        elif "events" in self._query:
            self._run(self._stream(int(self._query["events"]), float(self._query["gap_ms"]) / 1000))
        elif self._path.endswith("/content"):
            self._run(self._content(int(self._query["bytes"])))
        elif self._path in ("/v1/files", "/sent"):
            told = json.dumps({"bytes": self._swallowed, "sent": Upstream.sent}).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(told)
            self._transport.write(head + told)
        else:
            self._transport.write(_CHAT)

    def _run(self, answer: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, events: int, gap_s: float) -> None:
        """Events at fixed times, so that a late one does not make the rest late."""
        loop = asyncio.get_running_loop()
        self._transport.write(_STREAM_HEAD)
        due = loop.time() + (random.random() * gap_s if "spread" in self._query else gap_s)
        for number in range(events):
            if self._transport.is_closing():
                return
            if gap_s:
                await asyncio.sleep(due + number * gap_s - loop.time())
            await self._may_write.wait()
            self._transport.write(_chunk(_event(time.monotonic_ns())))
            Upstream.sent += 1
        self._transport.write(_chunk(_STREAM_TAIL) + b"0\r\n\r\n")

    async def _drip(self, seconds: int) -> None:
        self._transport.write(_STREAM_HEAD)
        for _ in range(seconds):
            await asyncio.sleep(1)
            self._transport.write(_chunk(b"x"))
        self._transport.write(b"0\r\n\r\n")

    async def _content(self, size: int) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % size)
        while size > 0 and not self._transport.is_closing():
            await self._may_write.wait()
            piece = _PIECE[:size]
            self._transport.write(piece)
            size -= len(piece)
            Upstream.sent += len(piece)


async def _serve(certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    contexts: list[ssl.SSLContext | None] = [None]
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        contexts.append(tls)
    servers = [await loop.create_server(Upstream, "127.0.0.1", 0, backlog=1024, ssl=context) for context in contexts]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1] if len(sys.argv) > 1 else None))
