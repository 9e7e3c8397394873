"""How a payload lies in an entry on Redis: as it is, compressed, or as a claim on a file in a shared folder.

With a folder nothing above the bound lies in Redis. A folder that cannot be written costs memory, and nothing else:
the payload goes along compressed, and is counted. One that cannot be read is waited for.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from msgspec import Struct

from bus.bus import Entry
from bus.claims import Claim, ClaimFolder, compress, decompress
from bus.errors import BusUnavailable, ClaimAway
from bus.redis_link import RedisLink
from config.clock import Clock, SystemClock
from config.logs import log

PLAIN: Final = b"p"
COMPRESSED: Final = b"z"
CLAIMED: Final = b"r"
_STORE: Final = "store"
_MARGIN_MS: Final = 3_600_000  # what clocks of hosts may differ; a claim is written seconds before its entry
_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Packed(Struct, frozen=True):
    field: bytes
    value: bytes
    size: int
    """Of the payload as it was."""


class Payloads:
    """One for all streams of a process. `above`: bytes, compressed, from which on a payload goes to the folder."""

    def __init__(
        self,
        folder: ClaimFolder | None = None,
        *,
        above: int = 0,
        timeout_s: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        self.claimed = 0
        """Payloads that went to the folder."""
        self.unclaimed = 0
        """Payloads that should have, and lie in Redis since it could not be written."""
        self._folder = folder if above else None
        self._reads, self._above, self._timeout_s = folder, above, timeout_s
        self._clock = clock or SystemClock()
        self._stores: dict[bytes, str] = {}
        self._is_unwritable = self._is_away = False
        self._rests_until_ns = 0
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="claims")  # a folder that hangs takes one thread

    async def pack(self, entry: Entry, link: RedisLink, claims_key: bytes) -> Packed:
        """What goes to Redis. The file is there before anybody is told of it. Raises BusUnavailable."""
        size = len(entry.payload)
        if self._folder is None or size <= self._above:
            return Packed(PLAIN, entry.payload, size)
        body = await asyncio.to_thread(compress, entry.payload)
        if len(body) <= self._above:
            return Packed(COMPRESSED, body, size)
        try:
            store = await self._agreed(self._folder, link, claims_key)
            claim = await self._on_disk(self._folder.write, entry.event_id, body, store, self._clock.now_ms())
        except OSError as error:
            self._note_unwritable(error)
            return Packed(COMPRESSED, body, size)
        self.claimed += 1
        self._is_unwritable = False
        return Packed(CLAIMED, claim.encode(), size)

    async def open(self, fields: Mapping[bytes, bytes]) -> bytes:
        """An entry's payload. Raises ClaimAway: ask again later, ClaimLost: it is gone."""
        if PLAIN in fields:
            return fields[PLAIN]
        return decompress(await self.compressed(fields))

    async def compressed(self, fields: Mapping[bytes, bytes]) -> bytes:
        """The payload of an entry that is not plain, as it lies there. Raises as `open` does."""
        if COMPRESSED in fields:
            return fields[COMPRESSED]
        if CLAIMED not in fields:
            raise ClaimAway("a newer program has written it")
        if self._reads is None:
            raise ClaimAway("large events lie in a folder, and LLM_PROXY_CLAIM_CHECK_DIR is not set here")
        claim = Claim.decode(fields[CLAIMED])
        try:
            return await self._on_disk(self._reads.read, claim)
        except TimeoutError as error:
            raise ClaimAway(f"the folder of large events did not answer within {self._timeout_s} s") from error

    async def expire(self, before_ms: int, oldest_ms: Sequence[int | None]) -> int:
        """Deletes claims of the hours that had ended by then, but none that an entry may still refer to, given when
        each stream's oldest was appended; returns how many hours. Raises BusUnavailable for the folder, too."""
        if self._reads is None:
            return 0
        before_ms = min([before_ms, *(at - _MARGIN_MS for at in oldest_ms if at is not None)])
        try:
            return await self._on_disk(self._reads.expire, before_ms)
        except OSError as error:
            raise BusUnavailable(f"old claims cannot be deleted: {error.strerror or error}") from error

    def note_away(self, error: ClaimAway | None) -> None:
        """One line when large events begin to wait for their folder, and one at the end (None)."""
        if error and not self._is_away:
            log(_logger, logging.WARNING, "large events wait for their folder", error=str(error))
        elif self._is_away and not error:
            log(_logger, logging.INFO, "the folder of large events is back")
        self._is_away = error is not None

    def close(self) -> None:
        self._disk.shutdown(wait=False)

    async def _agreed(self, folder: ClaimFolder, link: RedisLink, key: bytes) -> str:
        """The id of the folder that all of this bus write to; the first keeper's, who makes it."""
        if known := self._stores.get(key):
            return known
        told = await link.call("HGET", key, _STORE)
        if told is None:
            await link.call("HSETNX", key, _STORE, await self._on_disk(folder.make_store))
            told = await link.call("HGET", key, _STORE)
        self._stores[key] = str(told.decode())
        return self._stores[key]

    def _note_unwritable(self, error: OSError) -> None:
        self.unclaimed += 1
        if not self._is_unwritable:
            log(
                _logger,
                logging.WARNING,
                "large events go to Redis whole, since their folder cannot be written",
                error=error.strerror or str(error) or "no answer in time",
            )
        self._is_unwritable = True

    async def _on_disk(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises TimeoutError, which is an OSError, when the folder hangs; then it is not asked again for as long, so
        that a batch waits once and not for each of its events."""
        if self._clock.monotonic_ns() < self._rests_until_ns:
            raise TimeoutError
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._disk, lambda: act(*args, **kwargs))
        except TimeoutError:
            self._rests_until_ns = self._clock.monotonic_ns() + int(self._timeout_s * 1e9)
            raise
