"""Text on its way into queries."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from sql.values import after_prefix, pattern

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(prefix=text.filter(bool), tail=text, other=text)
def test_a_prefix_is_a_range_in_byte_order(prefix: str, tail: str, other: str) -> None:
    end = after_prefix(prefix)

    assert end is None or (prefix + tail).encode() < end.encode()
    if prefix.encode() <= other.encode() and (end is None or other.encode() < end.encode()):
        assert other.startswith(prefix) or end is None


def test_the_last_character_there_is_has_nothing_behind_it() -> None:
    assert after_prefix("\U0010ffff") is None
    assert after_prefix("a\U0010ffff") == "b"
    assert after_prefix("\ud7ff") == "\ue000"


@given(search=text.filter(bool), before=text, after=text)
def test_a_pattern_finds_what_was_typed_wherever_it_is(search: str, before: str, after: str) -> None:
    query = "SELECT LOWER(?) LIKE ? ESCAPE '\\'"

    (found,) = sqlite3.connect(":memory:").execute(query, (before + search + after, pattern(search))).fetchone()

    assert found


def test_nothing_to_search_for_is_no_filter() -> None:
    assert pattern(None) is None
    assert pattern("") is None
