"""Secrets do not get out by accident."""

import copy
import logging
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.secret import MASK, Secret, obfuscate


@given(value=st.text(min_size=9, max_size=80).filter(lambda v: v not in MASK))
def test_a_secret_is_not_in_what_is_printed_of_it(value: str) -> None:
    secret = Secret(value)

    for text in (repr(secret), str(secret), f"{secret}", f"{secret:>30}", f"{secret!r}", repr([secret])):
        assert value not in text


@given(value=st.text(), other=st.text())
def test_it_matches_itself_and_nothing_else(value: str, other: str) -> None:
    assert Secret(value).matches(value)
    assert Secret(value).matches(other) is (value == other)
    assert (Secret(value) == Secret(other)) is (value == other)
    assert Secret(value) != value


def test_half_a_character_in_a_candidate_is_no_error() -> None:
    assert not Secret("a").matches("\ud800")


@pytest.mark.parametrize("write", [pickle.dumps, copy.deepcopy, msgspec.json.encode, msgspec.msgpack.encode])
def test_it_is_not_written_by_an_encoder(write: object) -> None:
    with pytest.raises(TypeError):
        write(Secret("value"))  # type: ignore[operator]


def test_it_is_masked_in_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("with %s and %r", Secret("hunter2"), {"key": Secret("hunter2")})

    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("abcd", "****"),
        ("abcdef", "ab****"),
        ("abcdefghijklm", "abc...klm"),
        ("sk-provider-key-0123456789", "sk-provi...6789"),
    ],
)
def test_an_obfuscated_secret_shows_both_ends(value: str, shown: str) -> None:
    assert obfuscate(value) == shown


@given(value=st.text(min_size=1, max_size=60))
def test_an_obfuscated_secret_shows_half_of_it_at_most(value: str) -> None:
    shown = obfuscate(value).replace("...", "").replace("*", "")

    assert len(shown) <= max(len(value) // 2, 0)
