"""Lists whose state lives in the URL: filters, and the cursor of the row before the page.

A cursor is a list of values of the row it stands for, so that a page is found by index and does not move when rows
are added. A cursor or filter that cannot be read is left out: an old bookmark shows the first page, not an error.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")
PAGE_ROWS = 50
CURSOR = "after"
_TRAIL = "trail"
_TRAIL_PAGES = 40  # of some 70 characters each: an address may have 8 KiB
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number that both databases can hold."""


class Query(Struct, frozen=True):
    """A filter as its address says it; an empty field does not filter."""

    @property
    def query(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__struct_fields__}

    @property
    def is_empty(self) -> bool:
        return not any(self.query.values())


class Pager(Struct, frozen=True):
    """Links to the neighbouring pages; None where there is none."""

    first: str | None = None
    previous: str | None = None
    next: str | None = None


def pager(
    path: str, chosen: Mapping[str, object], query: Mapping[str, str], keys: Sequence[tuple[str | int, ...]]
) -> Pager:
    """`keys` are those of the page's rows and of one more, if there is one.

    A page is known by the key before it. The keys of the pages gone through are the trail, so that the way back is
    the same pages in the other direction, without a query that runs backwards.
    """
    return pager_before(path, chosen, query, keys[PAGE_ROWS - 1] if len(keys) > PAGE_ROWS else None)


def pager_before(
    path: str, chosen: Mapping[str, object], query: Mapping[str, str], key: tuple[str | int, ...] | None
) -> Pager:
    """`key` leads to the next page; None on the last one."""
    here, trail = query.get(CURSOR, ""), [part for part in query.get(_TRAIL, "").split(".") if part]
    next_page = None
    if key is not None:
        gone = ".".join([*trail, here][-_TRAIL_PAGES:]) if here else ""
        next_page = address(path, {**chosen, CURSOR: write_cursor(key), _TRAIL: gone})
    first = address(path, chosen)
    if not trail:
        return Pager(previous=first if here else None, next=next_page)
    previous = address(path, {**chosen, CURSOR: trail[-1], _TRAIL: ".".join(trail[:-1])})
    return Pager(first=first, previous=previous, next=next_page)


def write_cursor(key: tuple[str | int, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(text: str | None, kind: type[T]) -> T | None:
    if not text:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return None if b"\\u0000" in raw else msgspec.json.decode(raw, type=kind)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def address(path: str, query: Mapping[str, object]) -> str:
    """`path` with the parameters that say something."""
    said = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(said)}" if said else path


def read_choice(text: str | None, choices: Mapping[str, T], default: T) -> T:
    return choices.get(text or "", default)
