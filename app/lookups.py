"""Tokens, projects and API keys from memory; the database when memory does not know.

What a worker remembers is forgotten when a change says so (`changes.py`). Who heard of none for two seconds, because it
could not ask, reads a row again before using it.
While the database is away nothing can be asked: what is known keeps working for `token_stale_s`, except tokens with
a quota, which is exact or nothing; what is not known gets 503, never 401.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dogpile.cache import CacheRegion
from dogpile.cache.api import NO_VALUE
from msgspec import structs

from app.changes import Changes
from app.errors import StoreAway
from app.exchange import Project
from app.memory import bounded_region
from config.logs import log
from sql.errors import SealBroken, StoreError
from sql.repositories import api_keys, projects, tokens
from sql.rows import ChangeRow, TokenRow
from sql.sealing import hash_token
from sql.stores import Stores

logger = logging.getLogger(__name__)

_TOKENS_KEPT: Final = 100_000  # about 60 MB when all are at work on one worker
_PROJECTS_KEPT: Final = 10_000
_UNKNOWN_KEPT: Final = 4096  # apart: else strangers could push out all that is known
_FRESH_S: Final = 60.0  # read again after this long even if no change was told: a belt beside the changes table
_UNKNOWN_S: Final = 2.0  # a token that does not exist is asked for again after this; a new one is told by a change
_DEAF_S: Final = 2.0  # after so long without having read the changes, what is remembered may be wrong
_REREAD_S: Final = 1.0  # what is known waits no longer for a database that stands still


class Lookups:
    def __init__(self, stores: Stores, changes: Changes, *, stale_s: float) -> None:
        self._stores = stores
        self._changes = changes
        self._stale_s = stale_s
        self._tokens = bounded_region(_TOKENS_KEPT)
        self._projects = bounded_region(_PROJECTS_KEPT)
        self._unknown = bounded_region(_UNKNOWN_KEPT)
        """Tokens and projects that there are not."""
        self._reads: dict[str, int] = {}
        """Keys that are being read just now, and by how many."""
        self._outdated: set[str] = set()
        """Those of them that changed meanwhile: what is read is used once and not remembered."""
        self.knows_tokens = False
        """Some token has been read since the start: without the database this worker can still serve."""

    async def token(self, token: str) -> TokenRow | None:
        """The row of a token as the client showed it; None when there is none. Raises StoreAway."""
        key = hash_token(token)
        found = self._fresh(self._tokens, key)
        if found is NO_VALUE:
            found = await self._look_up(self._tokens, key, lambda: self._read_token(key))
        self.knows_tokens = self.knows_tokens or found is not None
        return found if found is None or isinstance(found, TokenRow) else None

    async def project(self, project_id: str) -> Project | None:
        """A project with its unsealed API keys; None when there is none. Raises StoreAway."""
        found = self._fresh(self._projects, project_id)
        if found is NO_VALUE:
            found = await self._look_up(self._projects, project_id, lambda: self._read_project(project_id))
        return found if found is None or isinstance(found, Project) else None

    async def admit(self, row: TokenRow, now_ms: int) -> bool:
        """Takes one request of a token's quota, exactly. False when it is used up. Raises StoreAway."""
        try:
            return await tokens.admit(self._stores.main, row.id, now_ms)
        except StoreError as error:
            raise StoreAway("The database is away and this token has a quota; try again soon.") from error

    async def forget(self, change: ChangeRow | None) -> None:
        """Of a token or a project; None: everything."""
        if change is None:
            self._forget_all()
            return
        if change.key in self._reads:
            self._outdated.add(change.key)
        region = self._tokens if change.kind == "token" else self._projects
        region.delete(change.key)
        self._unknown.delete(change.key)

    def _forget_all(self) -> None:
        self._outdated.update(self._reads)
        self._tokens = bounded_region(_TOKENS_KEPT)
        self._projects = bounded_region(_PROJECTS_KEPT)
        self._unknown = bounded_region(_UNKNOWN_KEPT)

    async def _look_up(self, region: CacheRegion, key: str, read: Callable[[], Awaitable[Any]]) -> Any:
        if self._fresh(self._unknown, key) is None:
            return None
        try:
            if self._changes.store_is_away:
                raise StoreError("known to be away")
            async with asyncio.timeout(None if region.get(key) is NO_VALUE else _REREAD_S):
                return await self._read(region, key, read)
        except (StoreError, TimeoutError) as error:
            return self._stale(region.get(key), error)

    async def _read(self, region: CacheRegion, key: str, read: Callable[[], Awaitable[Any]]) -> Any:
        self._reads[key] = self._reads.get(key, 0) + 1
        try:
            value = await read()
            if key not in self._outdated:
                self._remember(region, key, value)
            return value
        finally:
            self._reads[key] -= 1
            if not self._reads[key]:
                del self._reads[key]
                self._outdated.discard(key)

    def _remember(self, region: CacheRegion, key: str, value: Any) -> None:
        if value is None:
            region.delete(key)
            region = self._unknown
        else:
            self._unknown.delete(key)
        region.set(key, (value, time.monotonic()))

    def _stale(self, remembered: Any, error: Exception) -> Any:
        if remembered is not NO_VALUE:
            value, read_at = remembered
            if value is not None and time.monotonic() - read_at < self._stale_s:
                return value
        raise StoreAway("The database is away and this token is not known here; try again soon.") from error

    async def _read_token(self, key: str) -> TokenRow | None:
        row = await tokens.by_hash(self._stores.main, key)
        return row if row is None or row.token_hash == key else _in_grace(row)

    async def _read_project(self, project_id: str) -> Project | None:
        row = await projects.get(self._stores.main, project_id)
        if row is None:
            return None
        try:
            keys = await api_keys.for_project(self._stores.main, self._stores.sealer, project_id)
        except SealBroken:
            # The keys were sealed with another ENCRYPTION_KEY: the project has none that could be used.
            log(
                logger,
                logging.ERROR,
                "API keys cannot be unsealed; is ENCRYPTION_KEY the right one?",
                project_id=project_id,
            )
            keys = []
        return Project(row=row, keys=tuple(keys))

    def _fresh(self, region: CacheRegion, key: str) -> Any:
        """What was read a short while ago (None: there is no such row), or NO_VALUE.

        Straight from the region's backend: its own `get` looks for ways of expiring that we do not use.
        """
        kept: Any = region.backend.get(key)
        if kept is NO_VALUE:
            return NO_VALUE
        now = time.monotonic()
        if now - self._changes.heard_at > _DEAF_S:
            return NO_VALUE
        value, read_at = kept.payload
        return value if now - read_at < (_UNKNOWN_S if value is None else _FRESH_S) else NO_VALUE


def _in_grace(row: TokenRow) -> TokenRow:
    """A token as its secret before the last rotation has it: that one ends with the grace, if not sooner."""
    ends = [at for at in (row.expires_at_ms, row.previous_until_ms or 0) if at is not None]
    return structs.replace(row, expires_at_ms=min(ends))
