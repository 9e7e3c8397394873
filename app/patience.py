"""How long a client may take over its body: one that sends next to nothing is told so, and its place is free again.

One task looks at all bodies that are waited for, now and then, instead of a timer for each of them: a body has stalled
when it came on by less than LEAST_BYTES from one look to the next. Those that we do not read, because an upstream takes
no more, are let be.
"""

import asyncio
from typing import Final, Protocol

LEAST_BYTES: Final = 1024
"""A byte a second is no progress."""
_NOT_LOOKED_AT: Final = -1


class Awaited(Protocol):
    """A body that has not come whole."""

    size: int

    @property
    def is_awaited(self) -> bool:
        """Whether its next piece is being waited for."""
        ...

    def give_up(self) -> None: ...


class Patience:
    def __init__(self, look_ms: int) -> None:
        """A stalled body is given up after one to two times `look_ms`."""
        self._look_s = look_ms / 1000
        self._sizes: dict[Awaited, int] = {}
        """As they were at the last look."""

    def watch(self, body: Awaited) -> None:
        self._sizes.setdefault(body, _NOT_LOOKED_AT)

    def forget(self, body: Awaited) -> None:
        self._sizes.pop(body, None)

    async def keep(self) -> None:
        """Runs for the life of the worker."""
        while True:
            await asyncio.sleep(self._look_s)
            self.look()

    def look(self) -> None:
        for body, before in list(self._sizes.items()):
            if not body.is_awaited:
                self._sizes[body] = _NOT_LOOKED_AT
            elif before == _NOT_LOOKED_AT or body.size - before >= LEAST_BYTES:
                self._sizes[body] = body.size
            else:
                self.forget(body)
                body.give_up()
