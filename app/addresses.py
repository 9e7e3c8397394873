"""Listening addresses: `:8080`, `127.0.0.1:8080`, `[::1]:8080`, and whether somebody else has one already."""

import socket

from msgspec import Struct

from config.errors import ConfigError

_NEXT_PORTS = 200  # how far `next_free` looks


class Address(Struct, frozen=True):
    host: str
    """As to bind; `0.0.0.0` when the setting names none."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def reachable(self) -> "Address":
        """The same from this machine: a wildcard becomes loopback."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104

    @property
    def url(self) -> str:
        return f"http://{self.reachable()}"


def parse(text: str, setting: str) -> Address:
    """Raises ConfigError naming `setting`."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError([f"{setting}: {text!r} is no address; write :8080 or 127.0.0.1:8080"])
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104


def why_not(address: Address) -> str:
    """Why one cannot listen there; empty when one can. A listener that shares its port (SO_REUSEPORT) counts too."""
    try:
        _try_bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


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


def _try_bind(address: Address) -> None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last server's TIME_WAIT is no obstacle
        probe.bind((address.host, address.port))
        probe.listen(1)
