"""A chat stream is asked for its usage, and its client sees none of it: byte for byte, however the bytes were cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.asked_usage import WithoutUsage, with_usage_asked

USAGE = {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
KEPT: list[Any] = [
    {"id": "c", "choices": [{"index": 0, "delta": {"content": 'say "usage": {"a": 1}'}}], "usage": None},
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "é\n\n"}}]},
    {"choices": [], "prompt_filter_results": []},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}},
    "[DONE]",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.one_of(
    st.text(max_size=5), st.sampled_from(["model", "messages", "stream_options", "stream", "{", '"', "\\"])
)


def event(told: Any, end: str = "\n\n", *, compact: bool = True) -> bytes:
    separators = (",", ":") if compact else None
    text = told if isinstance(told, str) else json.dumps(told, separators=separators)
    return f"data: {text}{end}".encode()


def passed(stream: bytes, cuts: list[int]) -> bytes:
    takes_out, out, begin = WithoutUsage(), b"", 0
    for cut in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        out += takes_out.feed(stream[begin:cut])
        begin = cut
    return out + takes_out.rest()


@given(
    events=st.lists(st.sampled_from([*KEPT, USAGE]), max_size=8),
    end=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]),
    compact=st.booleans(),
    tail=st.sampled_from([b"", b"data: {", b": comment", b"\n"]),
    cuts=st.lists(st.integers(0, 2000), max_size=10),
)
def test_what_passes_is_the_stream_without_its_usage(
    events: list[Any], end: str, compact: bool, tail: bytes, cuts: list[int]
) -> None:
    stream = b"".join(event(told, end, compact=compact) for told in events) + tail
    expected = b"".join(event(told, end, compact=compact) for told in events if told is not USAGE) + tail

    assert passed(stream, cuts) == expected


@given(stream=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_pass_that_are_no_usage(stream: bytes, cuts: list[int]) -> None:
    assert passed(stream, cuts) == stream


def test_an_event_that_is_whole_waits_for_nothing() -> None:
    takes_out = WithoutUsage()

    assert takes_out.feed(event(KEPT[0])) == event(KEPT[0])
    assert takes_out.feed(event(KEPT[1])[:10]) == b""
    assert takes_out.feed(event(KEPT[1])[10:] + event(KEPT[2])) == event(KEPT[1]) + event(KEPT[2])


def test_an_event_without_an_end_is_not_held_for_ever() -> None:
    takes_out, endless = WithoutUsage(), b"x" * 700_000

    assert takes_out.feed(endless) == b""
    assert takes_out.feed(endless) == endless * 2


@given(call=st.dictionaries(names, values, max_size=5), indent=st.sampled_from([None, 1]), options=values)
def test_a_call_that_asks_differs_in_nothing_else(call: dict[str, Any], indent: int | None, options: Any) -> None:
    call = {**call, "stream": True}
    if options is not None:
        call["stream_options"] = options
    asking = with_usage_asked(json.dumps(call, indent=indent).encode())

    told = call.get("stream_options") or {}
    if told and not isinstance(told, dict):
        assert asking is None
    elif asking is not None:
        assert json.loads(asking) == {**call, "stream_options": {**told, "include_usage": True}}
    else:
        assert call["stream_options"] is not None


def test_only_what_has_to_be_is_put_in() -> None:
    body = b' {\n "model" : "gpt-4o","stream":true , "messages":[{"content":"\\u00e9  \\n"}] }\n'

    assert with_usage_asked(body) == body.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":false}',
        b'{"model":"m"}',
        b'{"stream":1}',
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":"odd"}',
        b'{"stream":true',
        b"[]",
        b"",
        b"\xff\xfe",
    ],
)
def test_what_is_no_stream_or_asks_itself_is_left_alone(body: bytes) -> None:
    assert with_usage_asked(body) is None


def test_a_client_that_refused_the_usage_is_asked_for_all_the_same_and_sees_none() -> None:
    body = b'{"stream":true,"stream_options": {"include_usage":false,"include_obfuscation":false} ,"n":1}'

    told = b'{"include_usage":true,"include_obfuscation":false}'
    assert with_usage_asked(body) == b'{"stream":true,"stream_options": ' + told + b' ,"n":1}'
