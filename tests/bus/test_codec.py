"""Payloads are events, or clearly none: whatever bytes somebody finds in a bus, nobody who reads them falls over."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.codec import decode_began, decode_finished, encode
from bus.errors import Undecodable
from bus.event import Body, ExchangeBegan, ExchangeFinished

BEGAN = ExchangeBegan(event_id="01a", request_id="r", accepted_at_ms=1, method="GET", path="/v1/models", provider="p")
FINISHED = ExchangeFinished(
    event_id="01a", request_id="r", accepted_at_ms=1, method="POST", path="/v1/chat", status=200,
    request_body=Body(data=b"\xff\xfe", content_type="text/plain"),
)  # fmt: skip
READERS: tuple[Callable[[bytes], object], ...] = (decode_began, decode_finished)


def test_what_was_written_is_read() -> None:
    assert (decode_began(encode(BEGAN)), decode_finished(encode(FINISHED))) == (BEGAN, FINISHED)


@given(st.binary(), st.sampled_from([encode(BEGAN), encode(FINISHED)]), st.integers(0), st.binary(min_size=1))
@example(b"", encode(BEGAN), encode(BEGAN).index(b"/v1"), b"\xff")
@example(b"", encode(FINISHED), encode(FINISHED).index(b"/v1"), b"\xff")
def test_any_bytes_are_an_event_or_said_to_be_none(noise: bytes, sound: bytes, at: int, instead: bytes) -> None:
    at %= len(sound)
    for payload in (noise, sound[:at] + instead + sound[at + len(instead) :]):
        for read in READERS:
            try:
                assert isinstance(read(payload), ExchangeBegan | ExchangeFinished)
            except Undecodable as error:
                assert str(error)


@pytest.mark.parametrize("read", READERS)
def test_an_event_of_the_other_kind_is_none(read: Callable[[bytes], object]) -> None:
    other = FINISHED if read is decode_began else BEGAN

    with pytest.raises(Undecodable):
        read(encode(other))
