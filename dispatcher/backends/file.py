"""Backend `file`: one JSON line per event, in the Go program's payload fields.

An acknowledged event is on the disk. A redelivered one is looked up in the file first, so that after a crash each id is
there once. A rotated file is let go and a new one begun.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from dispatcher.backends.base import BackendUnavailable, Delivered, Ok, Outcome, Retry
from dispatcher.backends.jsonl import JsonLines
from dispatcher.payloads import payload_of

_encoder = msgspec.json.Encoder()


class FileBackend:
    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        # One thread: a write that outlives its time-out ends before the next begins, which then finds its lines.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="file-backend")
        self._lines: JsonLines | None = None
        self._written: set[str] | None = None
        """Ids in the file, while redeliveries come; None when nobody asks."""

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
            known = self._known(lines, batch)
            fresh = {item.event.event_id: item.event for item in batch if item.event.event_id not in known}
            if fresh:
                lines.append(_encoder.encode(payload_of(event)) + b"\n" for event in fresh.values())
            known.update(fresh)
        except OSError:
            self._let_go()
            raise

    def _current(self) -> JsonLines:
        if self._lines is not None and not self._lines.is_current():
            self._let_go()
        if self._lines is None:
            self._lines = JsonLines(self._path)
        return self._lines

    def _known(self, lines: JsonLines, batch: Sequence[Delivered]) -> set[str]:
        """Kept from batch to batch while redeliveries go on: reading 64 MiB again for each would be slow."""
        if all(item.deliveries == 1 for item in batch):
            self._written = None
            return set()
        if self._written is None:
            self._written = lines.recent_ids()
        return self._written

    def _let_go(self) -> None:
        lines, self._lines, self._written = self._lines, None, None
        if lines is not None:
            lines.close()

    def _told(self, error: OSError) -> str:
        if isinstance(error, BlockingIOError):
            return f"another process writes to {self._path}; one event file has one writer"
        return f"{self._path} cannot be written ({error.strerror or error}); make it writable or free some space"
