"""What is too long, packed too tightly or broken: memory stays bounded and the ends still tell."""

import gzip
import json
import tracemalloc
import zlib

import pytest
import zstandard

from bus.event import Usage
from bus.transcript import encodings
from bus.transcript.encodings import PIECE_BYTES, Broken, decoder_for
from bus.transcript.reply import MAX_BODY_BYTES, ReplyFacts, ReplyReader

CHAT = "/v1/chat/completions"


def read(body: bytes, kind: str = "application/json", encoding: str = "", size: int = 50_000) -> ReplyFacts:
    reader = ReplyReader("openai", CHAT, kind, encoding)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.close()


def embeddings(numbers: int) -> bytes:
    rows = [{"object": "embedding", "index": i, "embedding": [0.1234567] * 1000} for i in range(numbers // 1000)]
    whole = {"object": "list", "data": rows, "model": "text-embedding-3-large", "usage": {"prompt_tokens": 9}}
    return json.dumps(whole).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "size"), [(1_000_000, 50_000), (1_013_000, 50_000), (1_500_000, 64 * 1024), (1_000_000, 10**9)]
)
def test_a_body_beyond_the_bound_tells_its_usage_from_the_tail(numbers: int, size: int) -> None:
    body = embeddings(numbers)
    assert len(body) > 2 * MAX_BODY_BYTES

    facts = read(body, size=size)

    assert (facts.usage, facts.is_complete) == (Usage(input=9), True)


def test_a_body_beyond_the_bound_that_was_cut_is_not_complete() -> None:
    assert not read(embeddings(1_000_000)[:-200_000]).is_complete


def test_an_image_in_an_event_beyond_the_bound_does_not_hide_the_usage() -> None:
    event = {"type": "image_generation.completed", "b64_json": "A" * 3_000_000, "usage": {"input_tokens": 3}}
    body = b"event: image_generation.completed\ndata: " + json.dumps(event).encode() + b"\n\n"

    assert read(body, "text/event-stream") == ReplyFacts(Usage(input=3), "", "", True)


def test_memory_stays_flat_while_a_long_body_passes() -> None:
    piece = b'{"x":"' + b"y" * 65_530
    reader = ReplyReader("openai", CHAT, "application/json", "")
    tracemalloc.start()

    for _ in range(1000):
        reader.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3 * MAX_BODY_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_small_reply_that_unpacks_to_very_much_is_given_up(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.transcript.reply.MAX_DECODED_BYTES", 8 * 1024 * 1024)
    zeros = b"\0" * (64 * 1024 * 1024)
    packed = gzip.compress(zeros) if encoding == "gzip" else zstandard.compress(zeros)
    reader = ReplyReader("openai", CHAT, "application/json", encoding)
    tracemalloc.start()

    reader.feed(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 16 * 1024 * 1024
    assert reader.close().usage is None


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_decoded_pieces_are_bounded(encoding: str) -> None:
    import brotli

    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}[encoding]
    decoder = decoder_for(encoding)
    assert decoder is not None

    pieces = list(decoder.decode(pack(b"a" * 1_000_000)))

    assert sum(map(len, pieces)) == 1_000_000
    assert max(map(len, pieces)) <= 2 * PIECE_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_reply_that_is_not_in_its_encoding_tells_nothing(encoding: str) -> None:
    body = b'data: {"id":"a","model":"m"}\n\n' * 40

    assert read(body, "text/event-stream", encoding) == ReplyFacts()


def test_an_unknown_encoding_is_passed_over() -> None:
    assert read(b"????", encoding="gzip, br") == ReplyFacts(is_complete=True)


def test_what_follows_a_gzip_member_and_is_none_is_left_alone() -> None:
    packed = gzip.compress(b'{"model":"m"}') + b"\0\0\0\0"

    assert read(packed, encoding="gzip", size=3) == ReplyFacts(None, "m", "", True)


def test_broken_bytes_raise_one_kind_of_error() -> None:
    decoder = encodings.Gzip()

    with pytest.raises(Broken):
        list(decoder.decode(b"not gzip at all"))
