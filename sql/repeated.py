"""One INSERT for many rows on SQLite: its VALUES repeated, with `?` for every value.

A statement for each row would hand Python's lock over and take it back at each of them; a JSON array (`json_each`)
takes four times as long, because each of a row's columns is looked for in its text.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from sql.database import Params
from sql.statements import parameters

_AT_ONCE: Final = (64, 16, 4, 1)
"""Few sizes, so that the driver finds its prepared statements again; 64 rows of 500 columns are SQLite's limit."""
_VALUES: Final = re.compile(r"\bVALUES\s*(\([^()]*\))", re.IGNORECASE)
_PARAMETER: Final = re.compile(r":(\w+)")


def pieces(text: str, rows: Sequence[Params]) -> Iterator[tuple[str, list[Any]]]:
    """Statements and their values, all rows in their order. Raises ValueError for a text without such VALUES."""
    at = 0
    for size in _AT_ONCE:
        repeated, names = _repeated(text, size)
        while len(rows) - at >= size:
            yield repeated, [row[name] for row in rows[at : at + size] for name in names]
            at += size


@lru_cache(maxsize=64)
def _repeated(text: str, count: int) -> tuple[str, tuple[str, ...]]:
    found = _VALUES.search(text)
    names = tuple(_PARAMETER.findall(found[1])) if found else ()
    if found is None or set(names) != parameters(text):
        raise ValueError(f"all parameters of an INSERT for many rows stand in its VALUES: {text[:60]}")
    group = _PARAMETER.sub("?", found[1])
    return text[: found.start(1)] + ", ".join([group] * count) + text[found.end(1) :], names
