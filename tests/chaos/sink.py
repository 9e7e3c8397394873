"""The receiver behind the `webhook` backend, a process of its own: `python -m tests.chaos.sink <port> <folder>`.

It notes each event before it answers, so that whatever it said 2xx to is on the disk (the page cache survives kill -9):

    sink.log      event id, request id, digest of the request's body ("-" without one), attempt, time
    sink.mode     how it behaves; read anew for each request, so that a fault is a file: ok | slow <ms> |
                  status <code> [Retry-After] | lose (takes, cuts) | reset (cuts, takes nothing) | some (207)

Events whose body holds POISON are refused with 400, and so is every batch that holds one. One that holds FATAL is noted
in sink.fatal.log and never answered: the nemesis kills whoever has sent it.
"""

import asyncio
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.chaos.evidence import digest
from tests.support.upstream import Received, Wire, read_request

POISON = "POISON"
FATAL = "FATAL"
FATAL_LOG = "sink.fatal.log"
LOG, MODE = "sink.log", "sink.mode"


class Sink:
    def __init__(self, folder: Path) -> None:
        self._mode = folder / MODE
        self._log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._fatal = os.open(folder / FATAL_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._dice = random.Random(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        try:
            while (received := await read_request(reader)) is not None:
                await self._answer(received, wire)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer(self, received: Received, wire: Wire) -> None:
        how, *arguments = self._mode.read_text().split()
        events: list[dict[str, Any]] = msgspec.json.decode(received.body)["events"]
        if how == "reset":
            wire.cut()
        elif how == "status":
            headers = [(b"retry-after", arguments[1].encode())] if arguments[1:] else []
            await wire.reply(int(arguments[0]), b"", *headers)
        elif any(FATAL in str(event.get("input")) for event in events):
            os.write(self._fatal, b"tried\n")
            await wire.gone()
        elif any(POISON in str(event.get("input")) for event in events):
            await wire.reply(400, b'{"error":"poison"}')
        elif how == "some":
            await self._take_some(events, received, wire)
        else:
            await self._take_all(events, received, wire, how, arguments)

    async def _take_all(
        self, events: list[dict[str, Any]], received: Received, wire: Wire, how: str, arguments: list[str]
    ) -> None:
        if how == "slow":
            await asyncio.sleep(int(arguments[0]) / 1000)
        self._note(events, received)
        if how == "lose":
            wire.cut()
        else:
            await wire.reply(200, b"{}")

    async def _take_some(self, events: list[dict[str, Any]], received: Received, wire: Wire) -> None:
        """Each event has its own luck, and is told so."""
        taken = [event for event in events if self._dice.random() < 0.5]
        self._note(taken, received)
        ids = {event["event_id"] for event in taken}
        results = [{"event_id": e["event_id"], "status": 200 if e["event_id"] in ids else 503} for e in events]
        await wire.reply(207, msgspec.json.encode({"results": results}))

    def _note(self, events: list[dict[str, Any]], received: Received) -> None:
        attempt = (received.all("x-delivery-attempt") or [b"0"])[0].decode()
        lines = [
            f"{event['event_id']} {event['metadata']['request_id']} {_digest(event)} {attempt} {time.time_ns()}\n"
            for event in events
        ]
        os.write(self._log, "".join(lines).encode())


def _digest(event: dict[str, Any]) -> str:
    has_body = "input" in event and event["metadata"]["status"] == 200
    return digest(msgspec.json.encode(event["input"])) if has_body else "-"


async def main(port: int, folder: Path) -> None:
    sink = Sink(folder)
    server = await asyncio.start_server(sink.serve, "127.0.0.1", port, limit=64 * 1024**2, reuse_address=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
