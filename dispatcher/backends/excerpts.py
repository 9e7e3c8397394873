"""What another side said, fit for a log line and a dead letter: short, on one line, without our secrets."""

from collections.abc import Sequence
from typing import Final

from config.secret import MASK, Secret

_CHARS: Final = 200


def excerpt(text: str, secrets: Sequence[Secret]) -> str:
    """Servers repeat what they were sent: a key in an error, a path in a 404."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), MASK)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_CHARS]
