"""Recorded bodies made readable: every encoding, every cut, no bombs, always one line of JSON."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import brotli
import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Body
from dispatcher.bodies import Readable, decoded, readable

ENCODERS = {
    "": lambda data: data,
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
}


def value(body: Readable) -> object:
    assert body.value is not None
    return json.loads(bytes(body.value))


@pytest.mark.parametrize("encoding", ENCODERS)
def test_encoded_json_comes_out_as_json(encoding: str) -> None:
    data = ENCODERS[encoding](b'{"choices": [1, 2]}')

    assert value(readable(Body(data, "application/json; charset=utf-8", encoding), "response")) == {"choices": [1, 2]}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_json_keeps_its_value_and_lies_on_one_line(document: object) -> None:
    body = Body(json.dumps(document, indent=2).encode(), "application/json")

    shown = readable(body, "request")

    assert value(shown) == document
    assert b"\n" not in bytes(shown.value or b"")


def test_numbers_keep_all_their_digits() -> None:
    shown = readable(Body(b'{"n": 12345678901234567890123.450}', "application/json"), "request")

    assert bytes(shown.value or b"") == b'{"n": 12345678901234567890123.450}'


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_cut_anywhere_shows_what_is_there(encoding: str) -> None:
    text = "data: {}\n\n" * 2000
    whole = ENCODERS[encoding](text.encode())

    for end in range(1, len(whole), max(1, len(whole) // 40)):
        shown = readable(Body(whole[:end], "text/event-stream", encoding, truncated=True), "response")
        assert shown.in_base64 or text.startswith(str(value(shown)))


@given(st.text(min_size=1), st.data())
def test_text_cut_inside_a_character_loses_only_that_character(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cut = raw[: data.draw(st.integers(1, len(raw)))]

    shown = readable(Body(cut, "text/plain", truncated=True), "response")

    assert text.startswith(str(value(shown)))
    assert len(str(value(shown)).encode()) > len(cut) - 4


def test_json_that_was_cut_is_shown_as_text() -> None:
    shown = readable(Body(b'{"choices": [{"te', "application/json", truncated=True), "response")

    assert value(shown) == '{"choices": [{"te'


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstandard.compress,
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data, 9)),
}


@pytest.mark.parametrize("encoding", _PACKERS)
def test_a_bomb_is_cut_at_four_mebibytes(encoding: str) -> None:
    data = _PACKERS[encoding](bytes(100_000_000))
    unpacked = decoded(data, encoding)

    assert unpacked is not None
    assert len(unpacked) <= 4 * 1024**2


@pytest.mark.parametrize("encoding", ["compress", "gzip, " * 9 + "gzip", "br"])
def test_what_cannot_be_decoded_is_kept_as_base64(encoding: str) -> None:
    shown = readable(Body(b"\xff\xfe!", "application/json", encoding), "response")

    assert base64.b64decode(shown.in_base64) == b"\xff\xfe!"


def test_binary_is_kept_as_base64() -> None:
    audio = bytes(range(256))

    assert base64.b64decode(readable(Body(audio, "audio/mpeg"), "response").in_base64) == audio


def test_multipart_is_left_out_in_the_go_programs_words() -> None:
    shown = readable(Body(b"--x\r\n...", "multipart/form-data; boundary=x"), "request")

    assert value(shown) == "<multipart request omitted>"


def test_nothing_recorded_shows_nothing() -> None:
    assert readable(None, "request") == Readable()
    assert readable(Body(), "request") == Readable()


@given(st.binary(max_size=300), st.sampled_from(["application/json", "text/plain", "", "image/png"]))
@pytest.mark.parametrize("encoding", ["", "gzip", "br", "zstd", "deflate"])
def test_any_bytes_give_valid_json_on_one_line(encoding: str, data: bytes, kind: str) -> None:
    shown = readable(Body(data, kind, encoding), "request")

    line = msgspec.json.encode({"input": shown.value, "input_base64": shown.in_base64})
    json.loads(line)
    assert b"\n" not in line


def test_nesting_without_end_is_text() -> None:
    deep = b"[" * 100_000

    assert value(readable(Body(deep, "application/json"), "request")) == deep.decode()
