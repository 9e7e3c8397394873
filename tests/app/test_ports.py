import socket

import pytest

from app.ports import answers, any_free, next_free, why_not
from config.addresses import Address


def _listener(*, shared: bool) -> socket.socket:
    sock = socket.socket()
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


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


def test_an_address_of_another_machine_is_told_as_such() -> None:
    assert "assign" in why_not(Address("192.0.2.1", 0))
    assert why_not(Address("no-such-host.invalid", 80))


def test_any_free_port_is_one_that_can_be_listened_on() -> None:
    address = any_free("127.0.0.1")

    assert address.port > 0
    assert why_not(address) == ""
