"""Listening addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.addresses import Address, parse
from config.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", "0.0.0.0", 8080),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:8080", "::1", 8080),
        ("[::]:0", "::", 0),
        (" localhost:65535 ", "localhost", 65535),
        ("proxy-1.internal:80", "proxy-1.internal", 80),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse(text, "LISTEN_ADDR") == Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "8080", ":", ":http", ":65536", "::1:8080", "a b:1", "http://h:1", "[::1]", ":-1", ":٣"]
)
def test_what_is_none_names_the_setting_and_shows_how_to_write_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^LISTEN_ADDR: .* write :8080"):
        parse(text, "LISTEN_ADDR")


@given(text=st.text(max_size=30))
def test_any_text_is_an_address_or_a_mistake(text: str) -> None:
    try:
        address = parse(text, "X")
    except ConfigError:
        return

    assert parse(str(address), "X") == address


def test_a_wildcard_is_reached_on_loopback() -> None:
    assert parse(":8080", "X").url == "http://127.0.0.1:8080"
    assert parse("[::]:8080", "X").url == "http://[::1]:8080"
    assert parse("10.0.0.7:80", "X").url == "http://10.0.0.7:80"
