"""Bodies that two parsers read differently name no model that a rule has not seen."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.exchange import Exchange
from app.model_names import checked_models
from app.request_body import RequestBody


def checked(body: bytes, *headers: tuple[bytes, bytes]) -> list[str]:
    given_headers = list(headers) or [(b"content-type", b"application/json")]
    exchange = Exchange()
    exchange.headers, exchange.first = given_headers, dict(reversed(given_headers))
    exchange.body = cast(RequestBody, SimpleNamespace(seen=body))
    return list(checked_models(exchange))


FORM = (b"content-type", b"multipart/form-data; boundary=x")


def part(name: bytes) -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + name + b"\r\n\r\nany\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "allowed", "model": "other"}',
        b'{"mod\\u0065l": "other", "model": "allowed"}',
        b'{"model": "allowed", "Model": "other"}',
        b'{"model": "allowed", "\\u004dODEL": "other"}',
        b" " * 100 + b'{"model": "allowed", "mod\\u0065l": "other"}',
        b" " * 100 + b'{"model": "allowed", "mod\\u0065l": "other", "t": NaN}',
        b'\xef\xbb\xbf{"model": "allowed"}',
        '{"model": "allowed"}'.encode("utf-16"),
        b'{"model": "allowed"',
        b'["model"]',
        b'{"model": "allowed", "models": "other"}',
        b'{"model": "allowed", "models": [{"other": 1}]}',
        b'{"model":"a","x":{"model":"b"},"y":"' + b"z" * 1024 * 1024 + b'"}',
        b'{"model":"a","models":["b"],"n":' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_may_be_read_otherwise_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        checked(body)


@pytest.mark.parametrize("second", [b'name="model"', b"name=model", b'NAME = "Model"', b"name*=utf-8''model"])
def test_a_form_that_names_it_twice_is_refused(second: bytes) -> None:
    assert checked(part(b'name="model"') + part(b'name="prompt"; filename="model.wav"'), FORM) == []
    with pytest.raises(InvalidRequest):
        checked(part(b'name="model"') + part(second), FORM)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-encoding", b"gzip")],
        [(b"content-encoding", b"identity"), (b"content-encoding", b"gzip")],
        [(b"content-type", b"text/plain"), (b"content-type", b"application/json")],
    ],
)
def test_what_cannot_be_looked_into_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequest):
        checked(b'{"model": "allowed"}', *headers)


def test_models_that_stand_beside_are_named() -> None:
    assert checked(b'{"model": "a", "models": ["b", "c"]}') == ["b", "c"]
    assert checked(b'{"models": ["b"]}') == ["b"]


def test_a_model_deeper_in_the_body_is_none_of_the_calls() -> None:
    assert checked(b'{"model": "a", "tools": [{"properties": {"model": {"type": "string"}, "models": [1]}}]}') == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


NAMES = TEXT.filter(lambda name: not name.lower().startswith("model"))


@given(st.dictionaries(NAMES, JSON, max_size=4), st.booleans())
def test_ordinary_bodies_pass(fields: dict[str, Any], is_escaped: bool) -> None:
    assert checked(json.dumps({"model": "a", **fields}, ensure_ascii=is_escaped).encode()) == []
