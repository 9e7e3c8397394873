import socket

import pytest

from app.addresses import Address, answers, next_free, parse, why_not
from config.errors import ConfigError


def _listener(port: int = 0, *, shared: bool = False) -> socket.socket:
    sock = socket.socket()
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8080", Address("0.0.0.0", 8080)),
        ("127.0.0.1:9", Address("127.0.0.1", 9)),
        ("[::1]:80", Address("::1", 80)),
        ("proxy.internal:443", Address("proxy.internal", 443)),
    ],
)
def test_an_address_is_read_as_the_go_program_reads_it(text: str, expected: Address) -> None:
    assert parse(text, "LISTEN_ADDR") == expected


@pytest.mark.parametrize("text", ["", "8080", "host:", "host:http", ":70000", ":-1", ":٣"])
def test_a_wrong_address_is_refused_with_the_setting_in_the_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"LISTEN_ADDR: .* is no address; write :8080"):
        parse(text, "LISTEN_ADDR")


def test_a_wildcard_is_reached_over_loopback() -> None:
    assert Address("0.0.0.0", 80).url == "http://127.0.0.1:80"
    assert Address("::", 80).url == "http://[::1]:80"


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_somebody_listens_on_is_taken_even_when_he_would_share_it(shared: bool) -> None:
    with _listener(shared=shared) as sock:
        address = Address("127.0.0.1", sock.getsockname()[1])

        assert "in use" in why_not(address)
        assert answers(address, 1)
        assert next_free(address).port > address.port

    assert why_not(address) == ""
    assert not answers(address, 1)
    assert next_free(address) == address
