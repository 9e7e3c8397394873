"""Recorded bodies as text: unpacked within a bound, JSON laid out, everything else as it passed."""

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import brotli
import msgspec
import zstandard
from msgspec import Struct

from sql.rows import BodyRow

_MAX_TEXT_BYTES: Final = 1024 * 1024  # a recorded body of 256 KiB may unpack to gigabytes
_ANY_ZLIB: Final = 47  # window bits: gzip or zlib, told by the header
_BARE: Final = -15  # no header at all


class BodyView(Struct, frozen=True):
    title: str
    content_type: str
    size: int
    truncated: bool
    text: str | None
    """None: not text; only its size is shown."""


def body_view(row: BodyRow) -> BodyView:
    return BodyView(
        title="Request body" if row.side == "request" else "Response body",
        content_type=row.content_type,
        size=len(row.data),
        truncated=row.truncated,
        text=_text(row),
    )


def _text(row: BodyRow) -> str | None:
    try:
        plain = _unpacked(row.data, row.content_encoding)
        text = _decoded(plain, is_cut=row.truncated or len(plain) == _MAX_TEXT_BYTES)
    except (ValueError, zlib.error, brotli.error, zstandard.ZstdError):
        return None
    return _laid_out(text)


def _unpacked(data: bytes, encoding: str) -> bytes:
    """Raises ValueError for an encoding that is not known, and the library's own error for broken bytes."""
    for name in reversed([part.strip().lower() for part in encoding.split(",") if part.strip()]):
        if name not in _UNPACK:
            raise ValueError(name)
        data = _UNPACK[name](data)
    return data[:_MAX_TEXT_BYTES]


def _inflate(data: bytes) -> bytes:
    """`deflate` is zlib by the standard and bare by the habit of some servers."""
    try:
        return zlib.decompressobj(_ANY_ZLIB).decompress(data, _MAX_TEXT_BYTES)
    except zlib.error:
        return zlib.decompressobj(_BARE).decompress(data, _MAX_TEXT_BYTES)


def _unbrotli(data: bytes) -> bytes:
    return bytes(brotli.Decompressor().process(data, output_buffer_limit=_MAX_TEXT_BYTES))


def _unzstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(data) as reader:
        return bytes(reader.read(_MAX_TEXT_BYTES))


_UNPACK: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": _inflate,
    "x-gzip": _inflate,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
    "identity": bytes,
}


def _decoded(data: bytes, *, is_cut: bool) -> str:
    """Raises UnicodeDecodeError (a ValueError); a character that the cut went through is left out."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if is_cut and error.start >= len(data) - 3:
            return data[: error.start].decode()
        raise


def _laid_out(text: str) -> str:
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.MsgspecError:
        return text
