"""Allow-lists of endpoints and values: boundaries, globs, and paths that two servers may read differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.call_rules import CallRules, is_ambiguous, value_glob
from config.providers import SHIPPED_FILE, load_providers


def rules(*endpoints: str) -> CallRules:
    import msgspec

    provider = load_providers(SHIPPED_FILE).default
    return CallRules.of(msgspec.structs.replace(provider, allowed_endpoints=endpoints))


@pytest.mark.parametrize(
    ("path", "is_admitted"),
    [
        ("/v1/models", True),
        ("/v1/models/gpt-4o", True),
        ("/v1/modelsX", False),
        ("/v1/model", False),
        ("/v1/threads/t1/runs", True),
        ("/v1/threads/t1/messages", False),
        ("/v1/threads/t1/x/runs", False),
        ("/v1/deep/a/b/c", True),
    ],
)
def test_prefixes_end_at_a_boundary_and_globs_match_whole(path: str, is_admitted: bool) -> None:
    assert rules("/v1/models", "/v1/threads/*/runs", "/v1/deep/**").admits_path(path) is is_admitted


@pytest.mark.parametrize(
    "path",
    ["/v1/models/..", "/v1/models/../x", "/v1/models/%2e%2e/x", "/v1/models/%2E./x", "/v1/models//x", "/v1/models/./x",
     "/v1/models/%252e%252e/x", "/v1/models/..%2fx", "/v1/models/..\\x", "/v1/models/%5c..%5cx", "/v1/models/%00"],
)  # fmt: skip
def test_a_path_that_could_be_read_as_another_is_never_admitted(path: str) -> None:
    assert is_ambiguous(path)
    assert not rules("/v1/models").admits_path(path)


@pytest.mark.parametrize("path", ["/v1/models/gpt-4o.mini", "/v1/models/a%2Fb", "/v1/models/..a", "/v1/files/x%20y/"])
def test_an_ordinary_path_is_not_ambiguous(path: str) -> None:
    assert not is_ambiguous(path)


@given(tail=st.text(min_size=1, max_size=30))
def test_whatever_follows_a_prefix_needs_a_slash_between(tail: str) -> None:
    admitted = rules("/v1/models").admits_path("/v1/models" + tail)

    assert not admitted or tail.startswith("/")


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("gpt-4o*", "gpt-4o-mini", True),
        ("gpt-4o*", "gpt-4", False),
        ("openai/*", "openai/gpt-4o", True),
        ("*", "openai/gpt-4o", False),
        ("o[1-4]-mini", "o4-mini", True),
        ("o?-mini", "o4-mini", True),
        ("a.c", "abc", False),
        ("a\\*", "a*", True),
    ],
)
def test_values_match_as_in_gos_path_match(pattern: str, value: str, matches: bool) -> None:
    assert (value_glob(pattern).fullmatch(value) is not None) is matches
