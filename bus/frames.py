"""The spool's frame: a header of 52 bytes, then the payload. Pure: bytes in, frames out.

    magic 4 | crc u32 | length u32 | version, kind, codec, flags: u8 | key id u32 | seq u64 | ts_ms u64 | event id 16

The CRC covers all after it and starts from the spool's own id: bytes of a client's body that imitate a frame never
pass, since no client knows that id. A frame of a version, kind, codec or key that this program does not know is sound.
"""

import struct
import zlib
from enum import IntEnum
from typing import Final

from msgspec import Struct

MAGIC: Final = b"\xf3LP\x9e"  # the outer bytes are never next to each other in UTF-8, so texts do not hold it
VERSION: Final = 1
MAX_PAYLOAD_BYTES: Final = 256 * 1024**2  # a longer length is damage, not a frame
CLEAR: Final = 0  # key id of a payload that is not sealed
NO_EVENT: Final = bytes(16)

_PREFIX: Final = struct.Struct("<4sI")
_REST: Final = struct.Struct("<IBBBBIQQ16s")
_HEADER: Final = struct.Struct("<4sIIBBBBIQQ16s")  # both
HEADER_BYTES: Final = _HEADER.size


class Kind(IntEnum):
    HEAD = 1
    """First of a segment. From its `seq` on, FINISHED frames are looked for here and no longer in older segments."""
    BEGAN = 2
    FINISHED = 3
    """The only kind that goes to the bus, and the only one that uses up a seq."""
    DROPPED = 4
    """Closes a BEGAN whose FINISHED found no room."""


class Codec(IntEnum):
    PLAIN = 0
    ZSTD = 1


class Flag(IntEnum):
    BODIES_DROPPED = 1


class Frame(Struct, frozen=True, gc=False):
    kind: int
    codec: int
    flags: int
    key_id: int
    seq: int
    """Of a FINISHED its own, of all others that of the next FINISHED: a missing one shows at whatever comes after."""
    ts_ms: int
    event_id: bytes
    payload: bytes
    version: int = VERSION


class Scan(Struct):
    """What a stretch of a segment holds."""

    frames: list[Frame]
    used: int
    """Bytes that need not be looked at again."""
    wanted: int = 0
    """Bytes needed from `used` on to judge the frame there; 0 when the stretch said all it had."""
    damaged: int = 0
    """Stretches that were no frames and not empty."""
    sound: int = 0
    """Where the last frame ends."""


def seed_of(spool: bytes) -> int:
    """Where a spool's checksums start."""
    return zlib.crc32(spool)


def pack(
    kind: Kind, payload: bytes, *, seed: int, seq: int, event_id: bytes, ts_ms: int, codec: int = 0, flags: int = 0
) -> bytes:
    rest = _REST.pack(len(payload), VERSION, kind, codec, flags, CLEAR, seq, ts_ms, event_id)
    crc = zlib.crc32(payload, zlib.crc32(rest, seed))
    return b"".join((_PREFIX.pack(MAGIC, crc), rest, payload))


def scan(stretch: bytes, *, seed: int, left: int, resync: bool) -> Scan:
    """Reads frames from the start of `stretch`, behind which the file holds `left` more bytes.

    With `resync` (a sealed segment) damage is stepped over to the next magic; without, reading stops at it, because
    the writer may be in the middle of that frame.
    """
    found, view = Scan([], 0), memoryview(stretch)
    at, was_sound = 0, True
    while at < len(stretch):
        frame, size = _frame_at(view, at, seed, left)
        if frame is not None:
            found.frames.append(frame)
            at, was_sound = at + size, True
            found.sound = at
        elif size:
            found.wanted = size
            break
        elif not resync:
            break
        else:
            to = _next_magic(stretch, at + 1, left)
            if stretch.count(0, at, to) < to - at:
                found.damaged += was_sound
                was_sound = False
            at = to
    found.used = at
    return found


def _frame_at(stretch: memoryview, at: int, seed: int, left: int) -> tuple[Frame | None, int]:
    """The frame and its size; or no frame and the size to be read for judging it; or no frame and 0 for damage."""
    have = len(stretch) - at
    if have < HEADER_BYTES:
        may_begin = have + left >= HEADER_BYTES and MAGIC.startswith(stretch[at : at + 4])
        return None, HEADER_BYTES if may_begin else 0
    magic, crc, length, version, kind, codec, flags, key_id, seq, ts_ms, event_id = _HEADER.unpack_from(stretch, at)
    size = HEADER_BYTES + length
    if magic != MAGIC or length > MAX_PAYLOAD_BYTES or size > have + left:
        return None, 0
    if size > have:
        return None, size
    if zlib.crc32(stretch[at + _PREFIX.size : at + size], seed) != crc:
        return None, 0
    payload = bytes(stretch[at + HEADER_BYTES : at + size])
    return Frame(kind, codec, flags, key_id, seq, ts_ms, event_id, payload, version), size


def _next_magic(stretch: bytes, start: int, left: int) -> int:
    """Where to try next: a magic, or the last three bytes that may begin one that goes on behind the stretch."""
    to = stretch.find(MAGIC, start)
    if to >= 0:
        return to
    return max(start, len(stretch) - 3) if left else len(stretch)
