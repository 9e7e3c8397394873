"""Whether somebody else listens on an address already, and which port is free instead."""

import socket

from config.addresses import Address
from config.errors import ConfigError

_NEXT_PORTS = 200  # how far `next_free` looks


def why_not(address: Address) -> str:
    """Why one cannot listen there; empty when one can. A listener that shares its port (SO_REUSEPORT) counts too."""
    try:
        _bound_port(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def any_free(host: str) -> Address:
    """Raises OSError when the host is not this machine's."""
    return Address(host, _bound_port(Address(host, 0)))


def next_free(address: Address) -> Address:
    """This address, or the next port that is free. Raises ConfigError when there is none in reach."""
    for port in range(address.port, min(address.port + _NEXT_PORTS, 65_536)):
        candidate = Address(address.host, port)
        if not why_not(candidate):
            return candidate
    raise ConfigError([f"no free port from {address} on"])


def answers(address: Address, timeout_s: float) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((address.reachable().host, address.port), timeout_s).close()
    except OSError:
        return False
    return True


def _bound_port(address: Address) -> int:
    """The port that a listener got, which is gone again."""
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last server's TIME_WAIT is no obstacle
        probe.bind(where)
        probe.listen(1)
        return int(probe.getsockname()[1])
