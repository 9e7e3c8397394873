"""Ids: UUIDv7 (RFC 9562 section 5.7), so that they sort by the time of their making."""

import os
import secrets
import time
import uuid
from typing import Final

TOKEN_PREFIX: Final = "sk-"  # noqa: S105 - a prefix is no secret
_PIECE_BYTES: Final = 24
_PIECES: Final = 128  # taken from the system at once: asking it costs more than everything else about an id
_TOKEN_BYTES: Final = 32  # 256 random bits: nothing to guess, and no time in it

_RANDOM_BITS: Final = 0x0FFF << 64 | 0x3FFF_FFFF_FFFF_FFFF
_VERSION_AND_VARIANT: Final = 0x7000 << 64 | 0x8000_0000_0000_0000


def new_id_bytes() -> bytes:
    """16 bytes: 48 bits of milliseconds, then 74 random bits between the version and the variant."""
    stamp = time.time_ns() // 1_000_000
    rest = int.from_bytes(random_piece()[:10], "big") & _RANDOM_BITS | _VERSION_AND_VARIANT
    return (stamp << 80 | rest).to_bytes(16, "big")


def id_text(raw: bytes) -> str:
    """The usual dashed form of 16 bytes."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_bytes(text: str) -> bytes:
    """Raises ValueError when `text` is no UUID."""
    return uuid.UUID(text).bytes


def new_id() -> str:
    return id_text(new_id_bytes())


def random_piece() -> bytes:
    """24 bytes from the system's generator, for names. Keys and tokens are asked for one by one."""
    try:
        return _pieces.pop()
    except IndexError:
        block = os.urandom(_PIECES * _PIECE_BYTES)
        _pieces.extend(block[at : at + _PIECE_BYTES] for at in range(0, len(block), _PIECE_BYTES))
        return os.urandom(_PIECE_BYTES)


_pieces: Final[list[bytes]] = []  # one pop is one step: no two threads get the same
os.register_at_fork(after_in_child=_pieces.clear)


def new_token() -> str:
    """A token for a client: `sk-` and 43 URL-safe characters. Shown once, stored as SHA-256."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
