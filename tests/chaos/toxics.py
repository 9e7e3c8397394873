"""A TCP proxy that does to a connection what networks do: on a thread of its own, changed while connections are open.

mode    pass | latency <ms> <+-ms> | slice | bandwidth <KB/s> | black-hole (nothing passes, nobody hangs up)
down()  refuses and resets; up() again        target    where new connections go: a name that moves to another server
"""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Coroutine
from typing import Any

_PIECE = 64 * 1024
_SLICE = 37


class Toxics:
    def __init__(self, target: int) -> None:
        self.target = target
        self.mode = "pass"
        self._is_up = True
        self._dice = random.Random(target)
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Resets what is open, and refuses."""
        self._is_up = False
        self.cut()

    def up(self) -> None:
        self._is_up = True

    def cut(self) -> None:
        """Resets what is open."""
        self._do(self._cut())

    def move_to(self, target: int) -> None:
        self.target = target
        self.cut()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self._loop.close()

    def _do(self, act: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(5)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, sock=self._listener)
        await self._stop.wait()
        server.close()
        self.mode = "pass"
        await self._cut()
        if serving := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(serving, timeout=2)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if not self._is_up:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(far_writer)
            await self._both_ways((reader, far_writer), (far_reader, writer))
        except OSError:
            return
        finally:
            writer.transport.abort()

    async def _both_ways(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Until either side ends; then both do."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._pipe(*way)) for way in ways]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for _, writer in ways:
                writer.transport.abort()
                self._writers.discard(writer)
            for task in running:
                task.cancel()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._pass_on(piece, writer)

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        while self.mode == "black-hole":
            await asyncio.sleep(0.02)
        how, *numbers = self.mode.split()
        if how == "latency":
            await asyncio.sleep(max(0.0, self._dice.gauss(float(numbers[0]), float(numbers[1]))) / 1000)
        elif how == "bandwidth":
            await asyncio.sleep(len(piece) / 1024 / float(numbers[0]))
        if how == "slice":
            await self._slice(piece, writer)
        else:
            writer.write(piece)
            await writer.drain()

    async def _slice(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        """Odd small pieces with gaps between them, as far as that stays affordable."""
        for at in range(0, min(len(piece), 20 * _SLICE), _SLICE):
            writer.write(piece[at : at + _SLICE])
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(piece[20 * _SLICE :])
        await writer.drain()
