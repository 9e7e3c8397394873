"""Content-Encoding undone piece by piece, for reading along; what passes to the client is never touched.

Each decoder yields pieces of bounded size, so that a small input that unpacks to gigabytes is seen before it is
held. `Broken` is the same for any cut of the bytes: whoever meets it forgets what the reply has told so far.
"""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

import brotli
import zstandard

PIECE_BYTES: Final = 64 * 1024
MAX_DECODED_BYTES: Final = 256 * 1024 * 1024  # embeddings of a large batch are 100 MB; a bomb ends here
_ZSTD_INPUT_BYTES: Final = 256  # zstd has no bound on output; its worst is 32 KB out of one byte in
_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024  # what RFC 9659 allows for Content-Encoding
_GZIP_START: Final = b"\x1f"


class Broken(Exception):
    """The bytes are not in the encoding that the header names."""


class Decoder(Protocol):
    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Raises Broken."""
        ...


def decoder_for(content_encoding: str) -> "Decoder | None":
    """None for an encoding, or a chain of them, that is not read."""
    if not content_encoding:
        return _IDENTITY
    match content_encoding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip":
            return Gzip()
        case "deflate":
            return Deflate()
        case "br":
            return Brotli()
        case "zstd":
            return Zstd()
    return None


class Identity:
    def decode(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk


_IDENTITY: Final = Identity()


class Gzip:
    """One member or several; what follows the last one and is no member is left alone."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._is_over = False

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        while chunk and not self._is_over:
            if self._member.eof:
                self._is_over = not chunk.startswith(_GZIP_START)
                self._member = zlib.decompressobj(wbits=31)
                continue
            yield from _inflate(self._member, chunk)
            chunk = self._member.unused_data


class Deflate:
    """zlib's format as the standard says, or bare deflate as some send it; the first two bytes tell."""

    def __init__(self) -> None:
        self._start = b""
        self._stream: zlib._Decompress | None = None

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._start += chunk
            if len(self._start) < 2:
                return
            chunk, is_zlib = self._start, self._start[0] & 15 == 8 and int.from_bytes(self._start[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(wbits=15 if is_zlib else -15)
        if not self._stream.eof:
            yield from _inflate(self._stream, chunk)


def _inflate(stream: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    try:
        while True:
            piece = stream.decompress(chunk, PIECE_BYTES)
            if piece:
                yield piece
            chunk = stream.unconsumed_tail
            if stream.eof or (not chunk and len(piece) < PIECE_BYTES):
                return
    except zlib.error as error:
        raise Broken(str(error)) from error


class Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while not self._stream.is_finished():
                piece = self._stream.process(chunk, output_buffer_limit=PIECE_BYTES)
                yield piece
                # It takes the whole input at times and still holds output back: a full piece says so.
                if self._stream.can_accept_more_data() and len(piece) < PIECE_BYTES:
                    return
                chunk = b""
        except brotli.error as error:
            raise Broken(str(error)) from error


class Zstd:
    """One frame or several."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame = self._context.decompressobj()

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), _ZSTD_INPUT_BYTES):
            part = chunk[start : start + _ZSTD_INPUT_BYTES]
            while part:
                if self._frame.eof:
                    self._frame = self._context.decompressobj()
                yield self._decompress(part)
                part = self._frame.unused_data

    def _decompress(self, part: bytes) -> bytes:
        try:
            return self._frame.decompress(part)
        except zstandard.ZstdError as error:
            raise Broken(str(error)) from error
