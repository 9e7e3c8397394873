"""A recorded body made readable: Content-Encoding undone, then JSON as JSON, text as text, the rest as base64.

Bodies are the first bytes only and may be cut anywhere, in the middle of a gzip stream too. What comes out is bounded:
a few kilobytes can unpack to gigabytes.
"""

import base64
import contextlib
from typing import Final

import msgspec
from msgspec import Struct

from bus.event import Body
from bus.transcript.encodings import Broken, Decoder, decoder_for

_MAX_BYTES: Final = 4 * 1024**2
_MAX_CODINGS: Final = 4  # a Content-Encoding with more layers is somebody's joke


class Readable(Struct, frozen=True):
    """Either `value` (JSON, ready to be placed into a document) or `in_base64`, or both empty."""

    value: msgspec.Raw | None = None
    in_base64: str = ""


def readable(body: Body | None, side: str) -> Readable:
    """`side` is request or response; it names the body in what stands for a multipart one."""
    if body is None or not body.data:
        return Readable()
    if body.content_type.startswith("multipart/"):
        return Readable(_text(f"<multipart {side} omitted>"))
    data = decoded(body.data, body.content_encoding)
    if data is None:
        return Readable(in_base64=base64.b64encode(body.data).decode())
    value = _json(data) if _is_json(body.content_type) else None
    if value is None:
        value = _as_text(data, is_cut=body.truncated or len(data) >= _MAX_BYTES)
    return Readable(value) if value is not None else Readable(in_base64=base64.b64encode(data).decode())


def decoded(data: bytes, content_encoding: str) -> bytes | None:
    """The bytes without their encodings, as far as they go; None when an encoding is unknown or broken at once."""
    codings = [coding for coding in content_encoding.split(",") if coding.strip()]
    if len(codings) > _MAX_CODINGS:
        return None
    for coding in reversed(codings):
        decoder = decoder_for(coding)
        data = _unpacked(decoder, data) if decoder else b""
        if not data:
            return None
    return data


def _unpacked(decoder: Decoder, data: bytes) -> bytes:
    unpacked = bytearray()
    with contextlib.suppress(Broken):  # what came before the break was right
        for piece in decoder.decode(data):
            unpacked += piece
            if len(unpacked) >= _MAX_BYTES:
                break
    return bytes(unpacked[:_MAX_BYTES])


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json") or not kind


def _json(data: bytes) -> msgspec.Raw | None:
    """As it was written, numbers of any size included, but on one line: a raw line break can only be white space."""
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.Raw(data.replace(b"\r", b" ").replace(b"\n", b" ").strip())


def _as_text(data: bytes, *, is_cut: bool) -> msgspec.Raw | None:
    """None for what is no UTF-8. A character may be cut in two at the end of a cut body."""
    try:
        return _text(data.decode())
    except UnicodeDecodeError as error:
        if is_cut and len(data) - error.start < 4:
            return _text(data[: error.start].decode())
        return None


def _text(value: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
