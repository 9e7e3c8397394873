"""Pages of a list: by an opaque cursor (keyset, so that page 1000 costs what page 1 does), or by the older page number.

A list answers with `Link: <...>; rel="next"` and `x-next-cursor` as long as there is more.
"""

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta, Struct

from admin.api.errors import unprocessable

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
MAX_PAGE = 100_000

CursorText = Annotated[str, Meta(min_length=1, max_length=2048)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
T = TypeVar("T")
K = TypeVar("K")


class KeysetQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many at most.")] = DEFAULT_LIMIT
    cursor: Annotated[CursorText, Meta(description="From x-next-cursor of the page before.")] | None = None


class PageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many at most.")] | None = None
    cursor: Annotated[CursorText, Meta(description="From x-next-cursor of the page before.")] | None = None
    page: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Instead of a cursor: which page, from 1.")] | None = None
    page_size: (
        Annotated[int, Meta(ge=1, le=2**31, description=f"Older name of limit; more than {MAX_LIMIT} is {MAX_LIMIT}.")]
        | None
    ) = None


class Window(Struct, Generic[K], frozen=True):
    """Which part of a list is wanted."""

    limit: int
    offset: int
    after: K | None


class Cut(Struct, Generic[T], frozen=True):
    """A page's rows, and whether there are more behind them."""

    rows: list[T]
    has_next: bool


def window(query: PageQuery | KeysetQuery, keys: type[K], list_name: str) -> Window[K]:
    """`keys` is the tuple type of the list's order. Raises ApiError 422."""
    after = decode_cursor(query.cursor, keys, list_name) if query.cursor is not None else None
    if isinstance(query, KeysetQuery):
        return Window(query.limit, 0, after)
    if after is not None and query.page is not None:
        raise unprocessable({"page": "cannot be combined with cursor"})
    limit = query.limit or min(query.page_size or DEFAULT_LIMIT, MAX_LIMIT)
    return Window(limit, ((query.page or 1) - 1) * limit, after)


def cut(rows: list[T], limit: int) -> Cut[T]:
    """Of `limit + 1` rows: the page, and whether there was one too many."""
    return Cut(rows[:limit], len(rows) > limit)


def encode_cursor(list_name: str, keys: tuple[object, ...]) -> str:
    raw = msgspec.json.encode([list_name, *keys])
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_cursor(text: str, keys: type[K], list_name: str) -> K:
    """Raises ApiError 422 when it is not one that `encode_cursor` made for this list."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        name, *rest = msgspec.json.decode(raw, type=list[Any])
        decoded: K = msgspec.convert(rest, keys)
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError) as error:
        raise unprocessable({"cursor": "is not a cursor of this list"}) from error
    if name != list_name or any(isinstance(part, str) and "\x00" in part for part in rest):
        raise unprocessable({"cursor": "is not a cursor of this list"})
    return decoded


def next_headers(url_path: str, query_string: str, cursor: str | None) -> dict[str, str]:
    """What points to the next page; nothing on the last one."""
    if cursor is None:
        return {}
    kept = [(n, v) for n, v in parse_qsl(query_string, keep_blank_values=True) if n not in ("cursor", "page")]
    url = f"{url_path}?{urlencode([*kept, ('cursor', cursor)])}"
    return {"x-next-cursor": cursor, "Link": f'<{url}>; rel="next"'}
