"""The owner's memory beyond its death: every command, in the page cache before it is answered.

A file of frames (length, CRC, MessagePack). The first tells all counts, the others are commands with their time, told
again at the next start. A torn tail was never answered. Power loss may cost the last second.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

_HEAD: Final = struct.Struct("<II")
_ROTATE_BYTES: Final = 32 * 1024 * 1024


class Journal:
    """`path` is replaced by a shorter one now and then. One owner at a time: whoever opens it must hold the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._begun_with = self._bytes = 0

    def told(self) -> Iterator[Any]:
        """What an earlier owner has noted, up to the first frame that is not whole."""
        try:
            content = memoryview(self._path.read_bytes())
        except FileNotFoundError:
            return
        at = 0
        while at + _HEAD.size <= len(content):
            length, crc = _HEAD.unpack_from(content, at)
            payload = content[at + _HEAD.size : at + _HEAD.size + length]
            if not length or len(payload) < length or zlib.crc32(payload) != crc:
                return  # torn, or the zeros that a loss of power leaves
            yield msgspec.msgpack.decode(payload)
            at += _HEAD.size + length

    def begin(self, state: Any) -> None:
        """A new file with nothing but this, in the old one's place. Raises OSError."""
        fresh = self._path.with_suffix(".new")
        frame = _framed(state)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            _write(file, frame)
            os.fdatasync(file)
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            raise
        self.close()
        self._file, self._bytes, self._begun_with = file, len(frame), len(frame)

    def note(self, happened: list[Any]) -> None:
        """Raises OSError; then nothing of it may be answered, and nothing of it is left."""
        frames = b"".join(_framed(one) for one in happened)
        try:
            _write(self._file, frames)
        except OSError:
            os.ftruncate(self._file, self._bytes)  # what is noted later must not lie behind half a frame
            raise
        self._bytes += len(frames)

    @property
    def is_long(self) -> bool:
        return self._bytes > _ROTATE_BYTES + 4 * self._begun_with

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _framed(content: Any) -> bytes:
    payload = msgspec.msgpack.encode(content)
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _write(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
