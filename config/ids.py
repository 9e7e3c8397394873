"""Ids: UUIDv7 (RFC 9562 section 5.7), so that they sort by the time of their making."""

import os
import secrets
import time
import uuid
from typing import Final

TOKEN_PREFIX: Final = "sk-"  # noqa: S105 - a prefix is no secret
_TOKEN_BYTES: Final = 32  # 256 random bits: nothing to guess, and no time in it


def new_id_bytes() -> bytes:
    """16 bytes: 48 bits of milliseconds, then 74 random bits between the version and the variant."""
    stamp = time.time_ns() // 1_000_000
    rest = bytearray(os.urandom(10))
    rest[0] = 0x70 | (rest[0] & 0x0F)
    rest[2] = 0x80 | (rest[2] & 0x3F)
    return stamp.to_bytes(6, "big") + bytes(rest)


def id_text(raw: bytes) -> str:
    """The usual dashed form of 16 bytes."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_bytes(text: str) -> bytes:
    """Raises ValueError when `text` is no UUID."""
    return uuid.UUID(text).bytes


def new_id() -> str:
    return id_text(new_id_bytes())


def new_token() -> str:
    """A token for a client: `sk-` and 43 URL-safe characters. Shown once, stored as SHA-256."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
