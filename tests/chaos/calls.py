"""The clients' side on raw sockets: it knows when the last byte of a reply came, which libraries do not tell."""

import asyncio
import time
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from tests.chaos.evidence import Diary

CHAT = "/v1/chat/completions"
_LONGEST_S = 60.0


class Call(Struct, frozen=True, kw_only=True):
    body: bytes
    token: str
    path: str = CHAT
    directions: str = ""
    """For the mock upstream: `chunks=5;gap_ms=20` and the like."""
    is_cut: bool = False
    """The client leaves after the first bytes of the body."""
    request_id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)


class Broken(Exception):
    """No whole reply; the text is a word for the log."""


def chat(
    token: str,
    nonce: str,
    *,
    size: int = 200,
    streamed: bool = False,
    model: str = "gpt-4.1-mini",
    user: str = "",
    **more: Any,
) -> Call:
    """A call whose body is like no other, about `size` bytes long."""
    said = (nonce * (size // len(nonce) + 1))[: max(size, len(nonce))]
    asked = {"model": model, "stream": streamed, "messages": [{"role": "user", "content": said}], "user": user}
    return Call(body=msgspec.json.encode(asked), token=token, **more)


class Connection:
    """One connection at a time, opened anew after whatever breaks it."""

    def __init__(self, port: int, diary: Diary) -> None:
        self._port = port
        self._diary = diary
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, call: Call) -> int:
        """The status; 0 when no whole reply came, which the diary explains."""
        self._diary.sent(call.request_id, call.body)
        try:
            async with asyncio.timeout(_LONGEST_S):
                return await self._ask(call)
        except (OSError, EOFError, TimeoutError, ValueError, Broken) as error:
            self._diary.failed(call.request_id, str(error).split("\n")[0].replace(" ", "-") or type(error).__name__)
            self.close()
            return 0

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _ask(self, call: Call) -> int:
        began = time.perf_counter_ns()
        reader, writer = await self._connected()
        writer.write(head_of(call) + call.body)
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        event_id = headers.get("x-llm-proxy-event-id", "")
        if event_id:
            self._diary.seen(event_id, call.request_id)
        if call.is_cut:
            await reader.read(1)
            raise Broken("cut-by-us")
        await _read_body(reader, headers)
        if event_id:
            took_us = (time.perf_counter_ns() - began) // 1000
            self._diary.acked(event_id, call.request_id, status, took_us)
        if headers.get("connection") == "close":
            self.close()
        return status

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1024**2)
        return self._streams


def head_of(call: Call) -> bytes:
    lines = [
        f"POST {call.path} HTTP/1.1",
        "host: 127.0.0.1",
        f"authorization: Bearer {call.token}",
        "content-type: application/json",
        f"x-request-id: {call.request_id}",
        f"x-chaos: {call.directions or 'none'}",
        f"content-length: {len(call.body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    line, *rest = head[:-4].decode("latin-1").split("\r\n")
    pairs = (header.partition(":") for header in rest)
    return int(line.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    else:
        await reader.readexactly(int(headers.get("content-length", "0")))
