"""The result depends on the bytes, never on how they were cut or packed."""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.transcript.reply import ReplyFacts, ReplyReader

FIXTURES = Path(__file__).with_name("fixtures")
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "gemini": "/v1beta/models/m:generateContent"}
NAMES = sorted(p.name for p in FIXTURES.iterdir() if p.suffix in (".json", ".sse"))


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip of two members": ("gzip", lambda body: gzip.compress(body[:99]) + gzip.compress(body[99:])),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("Deflate", bare_deflate),
    "brotli": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "zstd of two frames": ("zstd", lambda body: zstandard.compress(body[:99]) + zstandard.compress(body[99:])),
}


def read(name: str, encoding: str, pieces: list[bytes]) -> ReplyFacts:
    dialect = next((d for d in PATHS if name.startswith(d)), "openai")
    kind = "text/event-stream" if name.endswith(".sse") else "application/json"
    reader = ReplyReader(dialect, PATHS[dialect], kind, encoding)
    for piece in pieces:
        reader.feed(piece)
    return reader.close()


def cut(body: bytes, at: list[int]) -> list[bytes]:
    places = sorted({min(i, len(body)) for i in at})
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", NAMES)
def test_a_reply_in_single_bytes_is_the_same_reply(name: str, packing: str) -> None:
    encoding, pack = PACK[packing]
    body = (FIXTURES / name).read_bytes()
    packed = pack(body)

    one_by_one = read(name, encoding, [packed[i : i + 1] for i in range(len(packed))])

    assert one_by_one == read(name, "", [body])
    assert one_by_one.is_complete


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    packing=st.sampled_from(sorted(PACK)),
    at=st.lists(st.integers(0, 4500), max_size=12),
    end=st.integers(0, 4500),
)
def test_any_cut_of_a_whole_or_broken_off_reply_is_the_same_reply(
    name: str, packing: str, at: list[int], end: int
) -> None:
    encoding, pack = PACK[packing]
    body = pack((FIXTURES / name).read_bytes())[:end]

    assert read(name, encoding, cut(body, at)) == read(name, encoding, [body])


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=400),
    name=st.sampled_from(["openai.sse", "openai.json", "anthropic.sse", "gemini.json", "gemini.sse"]),
    encoding=st.sampled_from(["", "gzip", "deflate", "br", "zstd", "compress"]),
    at=st.lists(st.integers(0, 400), max_size=6),
)
def test_bytes_that_are_no_reply_are_read_without_an_error(
    body: bytes, name: str, encoding: str, at: list[int]
) -> None:
    assert read(name, encoding, cut(body, at)) == read(name, encoding, [body])


FIELDS = (
    *("id", "model", "usage", "type", "error", "response", "message", "delta", "candidates", "usageMetadata"),
    *("modelVersion", "responseId", "promptFeedback", "blockReason", "finishReason", "prompt_tokens", "input_tokens"),
    *("output_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "cache_creation"),
    *("promptTokenCount", "promptTokensDetails"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(value=JSON, name=st.sampled_from(["openai", "anthropic", "gemini"]), kind=st.sampled_from([".sse", ".json"]))
def test_json_of_any_shape_under_the_names_we_read_is_no_error(value: object, name: str, kind: str) -> None:
    text = json.dumps(value).encode()
    body = b"data: " + text + b"\n\n" if kind == ".sse" else text

    facts = read(name + kind, "", [body])

    assert facts.usage is None or min(facts.usage.prompt_tokens, facts.usage.completion_tokens) >= 0


_HEAD = '"id":"c1","object":"chat.completion.chunk","model":"gpt-4.1","choices":'
_SAID = [
    f'data: {{{_HEAD}[{{"index":0,"delta":{{"content":" word"}}}}]}}',
    f'data: {{{_HEAD}[{{"index":0,"delta":{{"content":" word"}}}}],"usage":null}}',
    f'data: {{{_HEAD}[{{"index":0,"delta":{{"content":"\\"usage\\":null"}}}}], "usage": null}}',
    f'data: {{{_HEAD}[],"usage":{{"prompt_tokens":3,"completion_tokens":1}}}}',
    f'data: {{"usage":null,{_HEAD}[],"usage":{{"prompt_tokens":4,"completion_tokens":2}}}}',
    ": still there",
]


@given(
    st.lists(st.sampled_from(_SAID), min_size=3, max_size=30),
    st.lists(st.integers(0, 4000), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_events_that_come_together_tell_what_they_tell_one_by_one(said: list[str], at: list[int], line: str) -> None:
    stream = "".join(event + 2 * line for event in said).encode()

    whole = read("openai.sse", "", cut(stream, at))

    assert whole == read("openai.sse", "", [stream[n : n + 1] for n in range(len(stream))])
    counts = [4 if '"prompt_tokens":4' in event else 3 for event in said if "prompt_tokens" in event]
    assert (whole.usage.prompt_tokens if whole.usage else None) == (counts[-1] if counts else None)
