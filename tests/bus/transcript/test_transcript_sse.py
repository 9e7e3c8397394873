"""Server-sent events, held against the standard's algorithm written out line by line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.transcript.sse import MAX_EVENT_BYTES, Blocks, Event, parse


def events(pieces: list[bytes]) -> list[Event]:
    blocks = Blocks()
    return [event for piece in pieces for block in blocks.feed(piece) if (event := parse(block))]


def by_the_standard(stream: bytes) -> list[Event]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6, on bytes."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    found, name, buffered = [], b"", b""
    for line in lines[:-1]:
        if line == b"":
            if buffered:
                found.append(Event(name.decode("utf-8", "replace"), buffered[:-1]))
            name, buffered = b"", b""
            continue
        field, colon, value = line.partition(b":")
        if colon and field == b"":
            continue
        value = value[1:] if value.startswith(b" ") else value
        if field == b"event":
            name = value
        if field == b"data":
            buffered += value + b"\n"
    return found


LINES = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data",
        b"data:  x",
        b"event: e",
        b"event:",
        b": note",
        b"id: 7",
        b"retry: 5",
        b"datax: no",
        b"",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=24).map(
    lambda rows: b"".join(line + end for line, end in rows)
)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(stream=STREAMS, mark=st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]), at=st.lists(st.integers(0, 200)))
def test_events_are_those_of_the_standard_for_any_cut(stream: bytes, mark: bytes, at: list[int]) -> None:
    stream = mark + stream
    places = sorted({min(i, len(stream)) for i in at})
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]

    assert events(pieces) == by_the_standard(stream)


@settings(max_examples=300, deadline=None)
@given(stream=st.binary(max_size=60), at=st.lists(st.integers(0, 60), max_size=5))
def test_any_bytes_are_cut_alike(stream: bytes, at: list[int]) -> None:
    places = sorted({min(i, len(stream)) for i in at})
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]

    assert events(pieces) == by_the_standard(stream)


def test_an_event_without_its_blank_line_is_no_event() -> None:
    assert events([b"data: one\n\ndata: two\n"]) == [Event("", b"one")]


def test_an_event_over_a_mebibyte_is_held_in_part_and_the_next_is_whole() -> None:
    blocks = Blocks()
    block = b'data: {"image":"' + b"x" * (8 * MAX_EVENT_BYTES) + b'","usage":{"input_tokens":1}}'
    stream = block + b"\n\ndata: next\n\n"
    held = []

    done = []
    for start in range(0, len(stream), 4096):
        done += blocks.feed(stream[start : start + 4096])
        held.append(len(blocks._rest._bytes))

    assert max(held) <= MAX_EVENT_BYTES + 4096
    assert done == Blocks().feed(stream)
    assert done[0].startswith(b'data: {"image":"xxx')
    assert done[0].endswith(b'xxx","usage":{"input_tokens":1}}')
    assert len(done[0]) < 200_000
    assert parse(done[1]) == Event("", b"next")


def test_an_event_of_exactly_a_mebibyte_is_whole_for_any_cut() -> None:
    block = b"data: " + b"x" * (MAX_EVENT_BYTES - 6)
    for size in (1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 4 * 1024 * 1024):
        stream = block + b"\n\n"
        blocks = Blocks()

        done = [b for start in range(0, len(stream), size) for b in blocks.feed(stream[start : start + size])]

        assert done == [block]
