"""The provider of a round, a process of its own: `python -m tests.chaos.mock_upstream <port>`.

The header x-chaos says what to do, as `name=number` with `;` between: bytes (of the answer), chunks and gap_ms (of a
stream), status. Streams end with usage and [DONE], as OpenAI's do.
"""

import asyncio
import sys

import msgspec
import uvloop

from tests.support.upstream import Received, Wire, read_request

_JSON = (b"content-type", b"application/json")
_SSE = (b"content-type", b"text/event-stream")
_USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}


async def answer(received: Received, wire: Wire) -> None:
    asked = _directions(received)
    if b'"stream":true' in received.body:
        await _stream(wire, asked.get("chunks", 3), asked.get("gap_ms", 0) / 1000)
    elif asked.get("status", 200) != 200:
        body = msgspec.json.encode({"error": {"message": "as asked for", "type": "server_error"}})
        await wire.reply(asked["status"], body, _JSON)
    else:
        await wire.reply(200, _completion("x" * asked.get("bytes", 100)), _JSON)


def _directions(received: Received) -> dict[str, int]:
    said = (received.all("x-chaos") or [b""])[0].decode()
    pairs = (part.partition("=") for part in said.split(";") if "=" in part)
    return {name: int(value) for name, _, value in pairs}


def _completion(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    head = {"id": "chatcmpl-chaos", "object": "chat.completion", "created": 1, "model": "gpt-4.1-mini"}
    return msgspec.json.encode({**head, "choices": [choice], "usage": _USAGE})


async def _stream(wire: Wire, chunks: int, gap_s: float) -> None:
    head = {"id": "chatcmpl-chaos", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1-mini"}
    await wire.start_chunked(_SSE)
    for number in range(chunks):
        choice = {"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}
        await wire.chunk(b"data: " + msgspec.json.encode({**head, "choices": [choice], "usage": None}) + b"\n\n")
        await asyncio.sleep(gap_s)
    await wire.chunk(b"data: " + msgspec.json.encode({**head, "choices": [], "usage": _USAGE}) + b"\n\n")
    await wire.chunk(b"data: [DONE]\n\n")
    await wire.end()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (received := await read_request(reader)) is not None:
            await answer(received, Wire(reader, writer))
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, limit=16 * 1024**2, reuse_address=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
