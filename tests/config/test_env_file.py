"""Reading `.env`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.env_file import read_env_file


def read(path: Path, text: str) -> tuple[dict[str, str], list[str]]:
    path = path / ".env"
    path.write_text(text, encoding="utf-8", newline="")
    mistakes: list[str] = []
    return read_env_file(path, mistakes, required=True), mistakes


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("  export NAME = spaced out  ", "spaced out"),
        ("NAME=a=b", "a=b"),
        ("NAME=", ""),
        ("NAME=  # nothing", ""),
        ("NAME=value # a comment", "value"),
        ("NAME=a#b", "a#b"),
        ('NAME="quoted # kept"', "quoted # kept"),
        ("NAME='single'  # a comment", "single"),
        ('NAME="half', '"half'),
        ('NAME="a"b"', '"a"b"'),
        ("NAME=$HOME", "$HOME"),
    ],
)
def test_a_line_is_a_name_and_its_value(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, line) == ({"NAME": value}, [])


def test_comments_blank_lines_and_windows_line_ends_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff# a\r\n\r\n A=1\r\nA=2\r\n")[0] == {"A": "2"}


def test_a_line_that_is_none_is_told_with_its_number_and_without_its_text(tmp_path: Path) -> None:
    values, mistakes = read(tmp_path, "A=1\nhunter2\n=hunter2\n1A=hunter2\nB=2\n")

    assert values == {"A": "1", "B": "2"}
    assert mistakes == [f"{tmp_path / '.env'}:{n}: expected NAME=value" for n in (2, 3, 4)]


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\xfe")
    mistakes: list[str] = []

    assert read_env_file(path, mistakes, required=False) == {}
    assert mistakes == [f"{path}: cannot be read (not UTF-8)"]


@given(value=st.text(st.characters(exclude_characters="\n\r\"'", exclude_categories=["Cs", "Cc"])))
def test_a_quoted_value_is_taken_as_it_is(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.getbasetemp() / "quoted.env"
    path.write_text(f'A="{value}"\n', encoding="utf-8", newline="")

    assert read_env_file(path, [], required=True) == {"A": value}
