"""Backend `file`: one JSON line per event, in the Go program's payload fields.

An acknowledged event is on the disk. What has been written lately is known and not written again: after a crash, and
after a bus has lost what it knew and gets it from the spools anew. A rotated file is let go and a new one begun.
One that is moved away while its writer is dead takes along what it holds: the last batch may be in both.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from dispatcher.backends.base import BackendUnavailable, Delivered, Ok, Outcome, Retry
from dispatcher.backends.jsonl import JsonLines
from dispatcher.backends.recent_ids import RecentIds
from dispatcher.payloads import payload_of

_REMEMBERED: Final = 200_000
"""Ids, and up to half of them more: 33 MB then. A spool's segment that comes again holds some ten thousand events."""

_encoder = msgspec.json.Encoder()


class FileBackend:
    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        # One thread: a write that outlives its time-out ends before the next begins, which then finds its lines.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="file-backend")
        self._lines: JsonLines | None = None
        self._written = RecentIds(_REMEMBERED)

    async def open(self) -> None:
        try:
            await self._on_thread(self._current)
        except OSError as error:
            raise BackendUnavailable(self._told(error)) from error

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        try:
            await self._on_thread(lambda: self._write(batch))
        except OSError as error:
            return [Retry(self._told(error))] * len(batch)
        return [Ok()] * len(batch)

    async def close(self) -> None:
        await self._on_thread(self._let_go)

    async def _on_thread(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _write(self, batch: Sequence[Delivered]) -> None:
        try:
            lines = self._current()
            fresh = {item.event.event_id: item.event for item in batch if item.event.event_id not in self._written}
            if fresh:
                lines.append(_encoder.encode(payload_of(event)) + b"\n" for event in fresh.values())
                self._written.add(fresh)
        except OSError:
            self._let_go()
            raise

    def _current(self) -> JsonLines:
        if self._lines is not None and not self._lines.is_current():
            self._let_go()
        if self._lines is None:
            self._lines = JsonLines(self._path)
            self._written.add(self._lines.recent_ids())
        return self._lines

    def _let_go(self) -> None:
        """Forgets the file and not what it holds: a rotated one is not searched again."""
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()

    def _told(self, error: OSError) -> str:
        if isinstance(error, BlockingIOError):
            return f"another process writes to {self._path}; one event file has one writer"
        return f"{self._path} cannot be written ({error.strerror or error}); make it writable or free some space"
