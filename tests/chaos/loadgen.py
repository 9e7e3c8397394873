"""The load generator, a process of its own: `python -m tests.chaos.loadgen '{"port": ...}'`, until SIGTERM.

It calls as different clients do: whole answers, streams, streams that the client leaves, calls that are refused. It
is never killed, and what it has acknowledged is on the disk.
"""

import asyncio
import random
import signal
import sys
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from tests.chaos.calls import Call, Connection, chat
from tests.chaos.evidence import Diary

_NOBODY = "sk-nobody-has-this-token-0000000000000"
_AFTER_TROUBLE_S = 0.02


class Load(Struct, forbid_unknown_fields=True):
    folder: str
    port: int
    token: str
    seed: int = 0
    connections: int = 8
    per_second: float = 150.0
    """Of all connections together; they never ask faster, but slower when replies take long."""


class Client:
    """One connection that asks, waits for the whole reply, and asks again."""

    def __init__(self, load: Load, number: int, diary: Diary, stop: asyncio.Event) -> None:
        self._load, self._number, self._stop = load, number, stop
        self._dice = random.Random(f"{load.seed} {number}")
        self._connection = Connection(load.port, diary)

    async def run(self) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            status = await self._connection.ask(self._call(f"{self._load.seed}-{self._number}-{count}-"))
            gap_s = self._dice.expovariate(self._load.per_second / self._load.connections)
            await self._pause(gap_s if status else max(gap_s, _AFTER_TROUBLE_S))
        self._connection.close()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _call(self, nonce: str) -> Call:
        chosen = self._dice.random()
        token = self._load.token
        if chosen < 0.74:
            return chat(token, nonce, size=self._size(), directions=f"bytes={self._size()}")
        if chosen < 0.90:
            return chat(token, nonce, streamed=True, directions=f"chunks={self._dice.randint(2, 12)};gap_ms=5")
        if chosen < 0.95:
            return chat(token, nonce, streamed=True, directions="chunks=40;gap_ms=10", is_cut=True)
        if chosen < 0.97:
            return chat(_NOBODY, nonce)
        if chosen < 0.99:
            return chat(token, nonce, path="/v1/nothing/there")
        return chat(token, nonce, directions="status=500")

    def _size(self) -> int:
        return self._dice.choices((200, 2_000, 20_000, 150_000), (80, 15, 4.5, 0.5))[0]


async def generate(load: Load) -> None:
    stop = asyncio.Event()
    for stopping in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stopping, stop.set)
    with Diary(Path(load.folder), "load") as diary:
        async with asyncio.TaskGroup() as tasks:
            for number in range(load.connections):
                tasks.create_task(Client(load, number, diary, stop).run(), name=f"client {number}")


if __name__ == "__main__":
    uvloop.run(generate(msgspec.json.decode(sys.argv[1], type=Load)))
