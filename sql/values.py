"""Values on their way in and out, so that both databases take and give the same."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def as_row(kind: type[T], row: Mapping[str, Any]) -> T:
    """A row as its Struct. Lax, because SQLite has 0 and 1 for false and true."""
    return msgspec.convert(row, kind, strict=False)


def clean(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """PostgreSQL has no NUL in text; a caller who sends one finds nothing instead of an error, on both databases."""
    if any(type(value) is str and "\0" in value for value in params.values()):
        return {name: without_nul(value) for name, value in params.items()}
    return params


def without_nul(value: Any) -> Any:
    """Text with U+FFFD in place of NUL; anything else as it is."""
    return value.replace("\0", "\ufffd") if type(value) is str else value


def pattern(search: str | None) -> str | None:
    """A LIKE pattern for `search` anywhere in a text that LOWER has been applied to; None for nothing to search.

    Only ASCII letters are folded: that is what LOWER does on SQLite and under PostgreSQL's "C" collation.
    """
    if not search:
        return None
    folded = search.translate(_ASCII_LOWER)
    escaped = folded.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def after_prefix(prefix: str) -> str | None:
    """The smallest text behind all that begin with `prefix`, in byte order; None when there is none."""
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1  # surrogates are no text
            return prefix[: end - 1] + chr(following)
    return None
