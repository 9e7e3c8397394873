"""Listening addresses as settings write them: `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:0`."""

import re
from typing import Final

from msgspec import Struct

from config.errors import ConfigError

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what `:8080` has always meant
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})", re.ASCII)


class Address(Struct, frozen=True):
    host: str
    """As to bind, without brackets; `0.0.0.0` when the setting names none."""
    port: int
    """0: any free one."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def reachable(self) -> "Address":
        """The same as seen from this machine: a wildcard becomes loopback."""
        return Address({EVERYWHERE: "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)

    @property
    def url(self) -> str:
        return f"http://{self.reachable()}"


def parse(text: str, setting: str) -> Address:
    """Raises ConfigError naming `setting`."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or int(found["port"]) > 65_535:
        raise ConfigError([f"{setting}: {text!r} is no address; write :8080, 127.0.0.1:8080 or [::1]:8080"])
    return Address(found["v6"] or found["host"] or EVERYWHERE, int(found["port"]))
