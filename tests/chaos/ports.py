"""Port numbers that stay a round's own, also while the process that listens there is dead.

They lie outside the range from which the kernel takes numbers for outgoing connections, and a socket that is bound and
never listens keeps each: others cannot have it, but who binds with SO_REUSEADDR, as servers do, can listen there.
"""

import random
import socket
from typing import Final

_LOWEST: Final = 10_000
_HIGHEST: Final = 32_767  # Linux hands out those above
_TRIES: Final = 200


class Port:
    def __init__(self) -> None:
        self._held, self.number = _hold()

    def close(self) -> None:
        self._held.close()


def _hold() -> tuple[socket.socket, int]:
    dice = random.SystemRandom()
    for _ in range(_TRIES):
        number = dice.randint(_LOWEST, _HIGHEST)
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", number))  # alone, so that no other round has it; shared from the next line on
        except OSError:
            held.close()
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return held, number
    raise OSError(f"no port is free after {_TRIES} tries")
