"""A secret that cannot be printed by accident.

`repr`, `str`, f-strings, logging, msgspec and pickle all see only asterisks or an error; the one way to the
value is `reveal()`, which is easy to grep for.
"""

import hmac
from typing import Final, NoReturn

MASK: Final = "********"


class Secret:
    """Holds a password, token or API key. Compares in constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one line that needs it."""
        return self._value

    def matches(self, candidate: str) -> bool:
        """Whether `candidate` is the secret, without telling by timing how much of it was right."""
        return hmac.compare_digest(_bytes(self._value), _bytes(candidate))

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def obfuscate(value: str) -> str:
    """How a secret is shown to people who may know that it exists: first 8 and last 4, less of short ones."""
    if len(value) <= 4:
        return "*" * len(value)
    if len(value) <= 12:
        return value[:2] + "*" * (len(value) - 2)
    if len(value) < 24:  # half of it at the most
        return f"{value[:3]}...{value[-3:]}"
    return f"{value[:8]}...{value[-4:]}"


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
