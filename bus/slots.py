"""A small record on disk that is replaced as a whole: two slots written in turn, each with a generation and a CRC.

A crash in the middle of a write leaves the other slot. The file has its full size from the start, so that a
replacement needs no new room on a full disk.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import msgspec

_SLOT_BYTES: Final = 1024
_SLOT: Final = struct.Struct("<IQH")  # crc of the rest, generation, length
T = TypeVar("T", bound=msgspec.Struct)

# macOS has no such call; there the spool is for trying things out.
allocate = getattr(os, "posix_fallocate", lambda fd, offset, size: os.ftruncate(fd, offset + size))


class Slots(Generic[T]):
    def __init__(self, fd: int, kind: type[T]) -> None:
        self._fd = fd
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._generation = 0

    @classmethod
    def open(cls, path: Path, kind: type[T]) -> Self:
        """Raises OSError, also when there is no room for a new file."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            allocate(fd, 0, 2 * _SLOT_BYTES)
        except OSError:
            os.close(fd)
            raise
        return cls(fd, kind)

    def read(self) -> T | None:
        """The newest whole record; None when there is none."""
        best, value = 0, None
        for generation, body in map(self._slot, (0, 1)):
            if generation > best:
                best, value = generation, self._decoder.decode(body)
        self._generation = max(best, self._generation)
        return value

    def write(self, value: T, *, durable: bool) -> None:
        """Readers see all of it or the record before. `durable`: on disk when it returns. Raises OSError."""
        if self._generation == 0:
            self.read()
        self._generation += 1
        body = msgspec.msgpack.encode(value)
        slot = struct.pack("<QH", self._generation, len(body)) + body
        slot = struct.pack("<I", zlib.crc32(slot)) + slot
        if len(slot) > _SLOT_BYTES:
            raise ValueError(f"a record of {len(body)} bytes fits into no slot")
        os.pwrite(self._fd, slot, self._generation % 2 * _SLOT_BYTES)
        if durable:
            os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def _slot(self, number: int) -> tuple[int, bytes]:
        raw = os.pread(self._fd, _SLOT_BYTES, number * _SLOT_BYTES)
        if len(raw) < _SLOT.size:
            return 0, b""
        crc, generation, length = _SLOT.unpack_from(raw)
        end = _SLOT.size + length
        return (generation, raw[_SLOT.size : end]) if zlib.crc32(raw[4:end]) == crc else (0, b"")
