"""Looking into JSON that is cut or too long."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bus.transcript.kept import HEAD_BYTES, TAIL_BYTES, Kept, shorten
from bus.transcript.scan import last_object, top_level_texts

NAMES = ("model", "id", 'a"b')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(st.sampled_from(NAMES), VALUES), escaped=st.booleans(), indent=st.sampled_from([None, 1]))
def test_texts_of_the_outermost_object_are_found(value: dict[str, Any], escaped: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()

    found = top_level_texts(body, ("model", "id"))

    assert found == {name: text for name, text in value.items() if isinstance(text, str) and name in ("model", "id")}


@given(value=st.dictionaries(st.sampled_from(NAMES), VALUES), end=st.integers(0, 200))
def test_a_cut_object_tells_a_part_of_what_the_whole_one_does(value: dict[str, Any], end: int) -> None:
    body = json.dumps(value).encode()

    assert top_level_texts(body[:end], NAMES[:2]).items() <= top_level_texts(body, NAMES[:2]).items()


def test_the_last_object_of_a_name_with_numbers_in_it_is_found() -> None:
    body = (
        b'0.1]}], "usage": {"input_tokens": 1}, "x": "\\"usage\\": {\\"a\\": 2}", "usage": {"type": "a"}, "usage": nu'
    )

    assert last_object(body, "usage") == {"input_tokens": 1}


def test_an_object_that_is_cut_is_none() -> None:
    assert last_object(b'"usage": {"input_tokens": 1', "usage") is None


def test_very_deep_and_very_large_values_are_no_error() -> None:
    assert last_object(b'"usage": ' + b'{"usage": ' * 6000, "usage") is None
    assert last_object(b'"usage": {"a": ' + b"9" * 5000 + b"}", "usage") is None


@given(sizes=st.lists(st.integers(0, HEAD_BYTES), max_size=8), limit=st.integers(140_000, 300_000))
def test_what_is_kept_does_not_depend_on_the_pieces(sizes: list[int], limit: int) -> None:
    pieces = [bytes([n % 251]) * size for n, size in enumerate(sizes)]
    kept = Kept(limit)

    for piece in pieces:
        kept.add(piece)

    whole = b"".join(pieces)
    assert kept.is_short is (len(whole) > limit)
    assert kept.take() == shorten(whole, limit)
    assert len(shorten(whole, limit)) <= max(limit, HEAD_BYTES + TAIL_BYTES)
