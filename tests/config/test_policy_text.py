"""The policy as a file: what is written comes back, and mistakes have lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.policy_text import PolicyText, as_yaml

YAML = """\
# who may do what
limits:
  - name: fair share
    measure: requests
    most: 600
    window: 1m
  - {name: budget, measure: cost,
     most: 250}
models: []
"""


def document_of(text: str) -> Any:
    return PolicyText("p.yaml", text).document


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "{}", "null"])
def test_nothing_is_an_empty_document(text: str) -> None:
    assert (document_of(text) or {}) == {}


def test_yaml_and_json_say_the_same() -> None:
    in_json = '{"limits":\t[{"name":"fair share","most":1e3}]}'

    assert document_of("limits: [{name: fair share, most: 1000.0}]") == document_of(in_json)


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("limits[0].most", "p.yaml:5: limits[0].most: "),
        ("limits[1]", "p.yaml:7: limits[1]: "),
        ("limits[1].most", "p.yaml:8: limits[1].most: "),
        ("limits[0].only", "p.yaml:3: limits[0].only: "),
        ("models", "p.yaml:9: models: "),
        ("", "p.yaml:1: "),
    ],
)
def test_a_mistake_has_the_line_of_its_place(place: str, where: str) -> None:
    assert PolicyText("p.yaml", YAML).located(place, "is wrong") == f"{where}is wrong"


def test_json_has_no_lines() -> None:
    assert PolicyText("p.json", "{}").located("limits[0]", "is wrong") == "p.json: limits[0]: is wrong"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits: [", "p.yaml:1: not YAML"),
        ("limits:\n  - {name: a,\n     name: b}", "p.yaml:3: 'name' is there twice"),
        ("limits: &a [*a]", "p.yaml"),
        ("limits: {? [1, 2] : 3}", "p.yaml"),
        ("x: \x00", "p.yaml:1: not YAML"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        document_of(text)

    assert caught.value.mistakes[0].startswith(told)


TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_shown_reads_back_as_it_was(document: dict[str, Any]) -> None:
    assert document_of(as_yaml(document)) == document


@given(st.text(alphabet="ab:-[]{}&*!|>#'\" \n\t1.?,%@") | st.text())
def test_any_text_is_read_or_told(text: str) -> None:
    try:
        document_of(text)
    except ConfigError as error:
        assert error.mistakes
