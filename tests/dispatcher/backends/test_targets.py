"""Addresses and keys are checked before anything is sent, and no mistake repeats what it is about."""

import pytest

from config.secret import Secret
from dispatcher.backends.targets import key_in, url_in


@pytest.mark.parametrize("url", ["https://hooks.example/a?b=c", "http://127.0.0.1:4318", "https://[::1]:8443/x"])
def test_http_and_https_are_taken_as_they_are(url: str) -> None:
    mistakes: list[str] = []

    assert url_in("X_URL", Secret(url), mistakes) == url
    assert mistakes == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "is required"),
        (None, "is required"),
        ("ftp://hooks.example/hidden", "must begin with http"),
        ("hooks.example/hidden", "must begin with http"),
        ("file:///hidden", "must begin with http"),
        ("https:///hidden", "must begin with http"),
        ("https://user:hidden@hooks.example", "must not hold a user"),
        ("https://hooks.example/#hidden", "fragment"),
        ("https://hooks.example:port/hidden", "no valid URL"),
        ("https://hooks.example/\nhidden", "no valid URL"),
    ],
)
def test_anything_else_is_one_clear_line(url: str | None, told: str) -> None:
    mistakes: list[str] = []

    assert url_in("X_URL", url, mistakes) == ""
    assert len(mistakes) == 1
    assert mistakes[0].startswith("X_URL: ")
    assert told in mistakes[0]
    assert "hidden" not in mistakes[0]


@pytest.mark.parametrize("key", ["sk-hidden\n", "sk-hidden\r\nX-Evil: 1", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_a_mistake(key: str) -> None:
    mistakes: list[str] = []

    key_in("X_KEY", Secret(key), mistakes)

    assert len(mistakes) == 1
    assert "hidden" not in mistakes[0]


def test_a_missing_key_is_a_mistake() -> None:
    mistakes: list[str] = []

    key_in("X_KEY", None, mistakes)

    assert mistakes == ["X_KEY: is required"]
