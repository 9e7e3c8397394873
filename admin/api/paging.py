"""Pages of a list: by a cursor (keyset, so that page 1000 costs what page 1 does), or by the older page number.

A cursor is a position, not a secret: `<first key>.<id>` of the last row that was seen. Every text of that form is one,
also when its row has gone meanwhile. A list answers with `Link: <...>; rel="next"` and `x-next-cursor` as long as there
is more.
"""

from typing import Annotated, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

from msgspec import Meta, Struct

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
MAX_PAGE = 100_000

_CURSOR = "From x-next-cursor of the page before."
_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NumberCursor = Annotated[str, Meta(pattern=rf"^[0-9]{{1,15}}\.{_ID}$", description=_CURSOR)]
NameCursor = Annotated[str, Meta(pattern=rf"^([0-9a-f]{{2}}){{1,1000}}\.{_ID}$", description=_CURSOR)]
T = TypeVar("T")


class KeysetQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many at most.")] = DEFAULT_LIMIT


class PageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many at most.")] | None = None
    page: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Older than cursor, which wins: which page, from 1.")] = 1
    page_size: (
        Annotated[int, Meta(ge=1, le=2**31, description=f"Older name of limit; more than {MAX_LIMIT} is {MAX_LIMIT}.")]
        | None
    ) = None

    @property
    def size(self) -> int:
        return self.limit or min(self.page_size or DEFAULT_LIMIT, MAX_LIMIT)

    def offset(self, cursor: str | None) -> int:
        return 0 if cursor else (self.page - 1) * self.size


class Cut(Struct, Generic[T], frozen=True):
    """A page's rows, and whether there are more behind them."""

    rows: list[T]
    has_next: bool


def cut(rows: list[T], limit: int) -> Cut[T]:
    """Of `limit + 1` rows: the page, and whether there was one too many."""
    return Cut(rows[:limit], len(rows) > limit)


def number_cursor(number: int, row_id: str) -> str:
    return f"{number}.{row_id}"


def read_number_cursor(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    number, _, row_id = cursor.partition(".")
    return int(number), row_id


def name_cursor(name: str, row_id: str) -> str:
    return f"{name.encode().hex()}.{row_id}"


def read_name_cursor(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    name, _, row_id = cursor.partition(".")
    return bytes.fromhex(name).decode(errors="replace"), row_id


def next_headers(url_path: str, query_string: str, cursor: str | None) -> dict[str, str]:
    """What points to the next page; nothing on the last one."""
    if cursor is None:
        return {}
    kept = [(n, v) for n, v in parse_qsl(query_string, keep_blank_values=True) if n not in ("cursor", "page")]
    url = f"{url_path}?{urlencode([*kept, ('cursor', cursor)])}"
    return {"x-next-cursor": cursor, "Link": f'<{url}>; rel="next"'}
