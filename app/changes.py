"""What a worker must read again, as the `changes` table tells it: asked for several times a second, and at once when
the database tells of a commit. Each change goes to whoever follows its kind, in the order of the commits.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from config.logs import log
from sql.errors import StoreError
from sql.repositories import changes
from sql.rows import ChangeRow
from sql.signals import Bell
from sql.stores import Stores

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 1000
_UNTOLD_POLL_S: Final = 0.1  # where nobody tells of changes, a look at least this often
_LOOK_BACK_S: Final = 60.0  # whether the table still goes on where we are: a database may come back from a backup


Obey = Callable[[ChangeRow | None], Awaitable[None]]
"""What is done about a change; None: anything may have changed. Who raises StoreError is told once more, and being told
twice does no harm."""


class Changes:
    def __init__(self, stores: Stores, *, poll_s: float) -> None:
        self._stores = stores
        self._poll_s = poll_s
        self._followers: dict[str, Obey] = {}
        self._bell = Bell()
        self._last: int | None = None
        self._looked_back_at = -math.inf
        self.heard_at = -math.inf
        """By `time.monotonic`: when the changes were asked for that have been obeyed."""
        self.store_is_away = False

    def tell(self, obey: Obey, *kinds: str) -> None:
        for kind in kinds:
            self._followers[kind] = obey

    async def follow(self) -> None:
        """Runs for the life of the worker."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stores.main.listen(self._bell), name="listen for changes")
            while True:
                await self.ask()
                await self._bell.wait(self._poll_s if self._bell.is_connected else min(self._poll_s, _UNTOLD_POLL_S))

    async def ask(self) -> None:
        """Tells what is new, the first time that anything is. While the database is away nothing is told."""
        asked_at = time.monotonic()
        try:
            if not await self._goes_on(asked_at):
                await self._begin_anew()
            await self._tell_new()
        except StoreError as error:
            self._store_state(away=True, reason=str(error))
            return
        self.heard_at = asked_at
        self._store_state(away=False)

    async def _goes_on(self, now: float) -> bool:
        """Whether what comes after the last change is all that came after it."""
        if self._last is None or now - self.heard_at > changes.KEPT_S:
            return False
        if now - self._looked_back_at < _LOOK_BACK_S:
            return True
        newest = await changes.last_id(self._stores.main)
        self._looked_back_at = now
        return newest >= self._last

    async def _begin_anew(self) -> None:
        newest = await changes.last_id(self._stores.main)
        await self._tell_everyone()
        self._last = newest

    async def _tell_new(self) -> None:
        while rows := await changes.after(self._stores.main, self._last or 0, _AT_ONCE):
            for row in rows:
                await self._tell(row)
            self._last = rows[-1].id

    async def _tell(self, change: ChangeRow) -> None:
        obey = self._followers.get(change.kind)
        if obey is None:  # a kind that a newer program writes: forgetting too much is safe
            await self._tell_everyone()
        else:
            await obey(change)

    async def _tell_everyone(self) -> None:
        for obey in dict.fromkeys(self._followers.values()):
            await obey(None)

    def _store_state(self, *, away: bool, reason: str = "") -> None:
        if away and not self.store_is_away:
            log(logger, logging.ERROR, "the database is away; known tokens keep working for a while", error=reason)
        if not away and self.store_is_away:
            log(logger, logging.WARNING, "the database is back")
        self.store_is_away = away
