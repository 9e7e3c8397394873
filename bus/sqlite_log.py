"""The embedded event log: the Bus protocol on one SQLite file, for one host without Redis.

The keeper is the only process that opens the file, through one connection on one thread (see `sqlite_schema`).
An append is durable when it returns. Several hosts cannot share it: for that there is Redis.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from bus import sqlite_letters, sqlite_lots, sqlite_schema
from bus import sqlite_transactions as act
from bus.ballast import Ballast
from bus.bus import AppendResult, BusStats, Delivery, Entry
from bus.dead_letters import AT_ONCE, LetterPage, OpenedLetter
from bus.errors import BusError, BusUnavailable
from bus.lots import LotMarks, LotPlace, Parked
from config.clock import Clock, SystemClock
from config.logs import log

_CLAIM_BYTES: Final = 16 * 1024**2  # bounds the memory of one claim, as max_bytes does for a read

_logger = logging.getLogger(__name__)
T = TypeVar("T")


class SqliteLog:
    """Every verb is one transaction. Raises BusUnavailable while the disk is full or read-only, and heals by itself."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        lock: int,
        clock: Clock,
        ballast: Ballast,
    ) -> None:
        self._path = path
        self._connection = connection
        self._ballast = ballast
        self._thread = thread
        self._lock = lock
        self._clock = clock
        self._appended = asyncio.Event()
        self._is_closed = False

    @classmethod
    async def open(cls, path: Path, clock: Clock | None = None) -> "SqliteLog":
        """Creates the file when it is missing. Raises BusError: locked by another keeper, damaged, foreign, newer."""
        lock = sqlite_schema.lock(path)
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-log")
        try:
            loop = asyncio.get_running_loop()
            connection = await loop.run_in_executor(thread, sqlite_schema.connect, path)
            ballast = await loop.run_in_executor(thread, Ballast, path.with_name(path.name + ".ballast"))
            await loop.run_in_executor(thread, sqlite_schema.bound_wal, connection, ballast.bytes // 2)
            log = cls(path, connection, thread, lock, clock or SystemClock(), ballast)
            await log._write(act.release_all)
        except BaseException:
            thread.shutdown(wait=False)
            os.close(lock)
            raise
        return log

    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        now_ms = self._clock.now_ms()
        result = await self._write(
            lambda on: act.append(on, now_ms, spool, epoch, first_seq, entries), grows=bool(entries)
        )
        if result.added:
            self._wake_readers()
        return result

    async def ensure_groups(self, names: Sequence[str]) -> None:
        await self._write(lambda on: act.ensure_groups(on, names))

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        deadline = asyncio.get_running_loop().time() + block_ms / 1000
        while True:
            appended = self._appended  # taken before looking, so that an append in between is not missed
            found = await self._write(lambda on: act.read(on, self._now(), group, consumer, max_entries, max_bytes))
            left_s = deadline - asyncio.get_running_loop().time()
            if found or left_s <= 0:
                return found
            try:
                async with asyncio.timeout(left_s):
                    await appended.wait()
            except TimeoutError:
                return []

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        return await self._write(
            lambda on: act.claim(on, self._now(), group, consumer, min_idle_ms, max_entries, _CLAIM_BYTES)
        )

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        return await self._write(lambda on: act.extend(on, self._now(), group, consumer, keys))

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        await self._write(lambda on: act.ack(on, group, keys))

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        await self._write(lambda on: act.retry_in(on, self._now() + delay_ms, group, consumer, keys))

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        wall_ms = self._clock.now_ms()
        return await self._write(lambda on: act.dead_letter(on, wall_ms, group, consumer, key, reason, detail))

    async def park(self, group: str, keys: Sequence[str]) -> None:
        await self._write(lambda on: sqlite_lots.park(on, group, keys))

    async def unpark(
        self, group: str, lot: bytes, place: LotPlace, events: Sequence[Parked] = (), *, room: int = 0
    ) -> LotMarks:
        return await self._write(lambda on: sqlite_lots.unpark(on, self._now(), group, lot, place, events, room))

    async def end_lot(self, group: str, lot: bytes) -> None:
        await self._write(lambda on: sqlite_lots.end(on, group, lot))

    async def trim(self) -> int:
        """In chunks, so that an append waits for one of them at most."""
        total = 0
        while count := await self._write(act.trim):
            total += count
        while await self._on_thread(act.give_pages_back):
            pass
        return total

    async def delivered_through(self, spool: bytes) -> int:
        return await self._on_thread(lambda on: act.delivered_through(on, spool))

    async def retire(self, spool: bytes) -> None:
        await self._write(lambda on: act.retire(on, spool))

    async def stats(self) -> BusStats:
        wall_ms = self._clock.now_ms()
        return await self._on_thread(lambda on: act.stats(on, wall_ms))

    async def letters(self, group: str, *, reason: str = "", before: str = "", limit: int = AT_ONCE) -> LetterPage:
        return await self._on_thread(lambda on: sqlite_letters.letters(on, group, reason, before, limit))

    async def letter(self, group: str, letter_id: str) -> OpenedLetter | None:
        return await self._on_thread(lambda on: sqlite_letters.letter(on, group, letter_id))

    async def replay_letters(self, group: str, ids: Sequence[str]) -> int:
        return await self._write(lambda on: sqlite_letters.replay(on, self._now(), group, ids))

    async def purge_letters(self, group: str, ids: Sequence[str]) -> int:
        return await self._write(lambda on: sqlite_letters.purge(on, group, ids))

    async def forget_group(self, group: str) -> bool:
        return await self._write(lambda on: sqlite_letters.forget_group(on, group))

    async def close(self) -> None:
        if self._is_closed:
            return
        try:
            await self._on_thread(lambda on: on.close())
            self._ballast.close()
        finally:
            self._is_closed = True
            self._thread.shutdown(wait=False)
            os.close(self._lock)

    def _wake_readers(self) -> None:
        self._appended.set()
        self._appended = asyncio.Event()

    def _now(self) -> int:
        return self._clock.monotonic_ns() // 1_000_000

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, grows: bool = False) -> T:
        """`grows`: what it needs room for is waiting elsewhere, and the ballast is not for it."""

        def transaction(on: sqlite3.Connection) -> T:
            if grows and not self._ballast.restore():
                raise sqlite_schema.no_room(self._path)
            try:
                return sqlite_schema.whole(on, work)
            except sqlite3.OperationalError as error:
                if grows or error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
            if self._ballast.give_up():
                log(_logger, logging.WARNING, "the disk is full: the event log delivers, and takes nothing new")
            sqlite_schema.shorten_wal(on)
            return sqlite_schema.whole(on, work)

        return await self._on_thread(transaction)

    async def _on_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A cancelled caller does not stop the transaction: its outcome is then unknown, as with any bus."""
        if self._is_closed:
            raise BusUnavailable(f"{self._path} has been closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> BusError:
        return sqlite_schema.translate(error, self._path)
