"""API keys sealed at rest (AES-256-GCM, the Go program's `enc:v1:` form), tokens only as hashes."""

import base64
import binascii
import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from config.errors import ConfigError
from config.secret import Secret
from sql.errors import SealBroken

PREFIX: Final = "enc:v1:"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Sealer:
    """Without a key it stores in clear, and still reads what is in clear. A bad key raises ConfigError."""

    def __init__(self, key: Secret | None) -> None:
        self._cipher = AESGCM(_key_bytes(key)) if key else None

    @property
    def is_sealing(self) -> bool:
        return self._cipher is not None

    def seal(self, value: str) -> str:
        """`enc:v1:` and base64 of nonce, ciphertext and tag; an empty value stays empty."""
        if self._cipher is None or not value:
            return value
        nonce = os.urandom(_NONCE_BYTES)
        return PREFIX + base64.b64encode(nonce + self._cipher.encrypt(nonce, value.encode(), None)).decode()

    def unseal(self, stored: str) -> Secret:
        """Raises SealBroken when the key is missing or another one."""
        if not stored.startswith(PREFIX):
            return Secret(stored)
        if self._cipher is None:
            raise SealBroken("a stored API key is sealed, but ENCRYPTION_KEY is not set")
        try:
            raw = base64.b64decode(stored[len(PREFIX) :], validate=True)
            opened = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBroken(
                "a stored API key does not open: ENCRYPTION_KEY is not the one it was sealed with"
            ) from error
        return Secret(opened)


def new_key() -> str:
    """A fresh ENCRYPTION_KEY."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def hash_token(token: str) -> str:
    """Lower-hex SHA-256. A token holds enough randomness that no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def token_hint(token: str) -> str:
    """What may be shown of a token: `sk-abcd…wxyz`."""
    body = token.removeprefix("sk-")
    return f"sk-{body[:4]}…{body[-4:]}" if len(body) > 12 else "sk-…"


def _key_bytes(key: Secret) -> bytes:
    try:
        raw = base64.b64decode(key.reveal(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ConfigError(["ENCRYPTION_KEY: must be base64 of 32 bytes; `openssl rand -base64 32` makes one"])
    return raw
