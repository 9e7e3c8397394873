"""The consumer's side of a Redis stream: entries are handed out to groups, given back, acknowledged, buried.

XREADGROUP / XCLAIM ──► taken ──► payload opened ──► handed on
                          │            ├─ its folder is away: to be tried again after a lease
                          │            └─ it is gone: looked for twice more, then buried as `claim_lost`
                          └─ more bytes than were asked for: back, as if not handed out
"""

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from bus.bus import SUSPECT_AFTER, Delivery
from bus.errors import BusUnavailable, ClaimAway, ClaimLost
from bus.redis_held import AGAIN, Held, History, Taken, id_of
from bus.redis_keys import RETRY_STEP, SCRIPTS, RedisKeys
from bus.redis_link import RedisLink
from bus.redis_payloads import CLAIMED, COMPRESSED, Payloads
from config.logs import log

CLAIM_LOST: Final = "claim_lost"
"""Why an event is buried whose payload is gone from the folder of large ones."""
_LOOKS: Final = 3  # for such a payload, a lease apart: a folder on a network may show a file late
_CLAIM_BYTES: Final = 16 * 1024**2  # handed out by one claim
_FIRST_GUESS_BYTES: Final = 4096
_logger = logging.getLogger(__name__)


class RedisGroups:
    """Raises BusUnavailable while the server is away; the outcome is then unknown."""

    def __init__(self, link: RedisLink, key: str, *, min_idle_ms: int, payloads: Payloads | None = None) -> None:
        self._link, self._keys, self._payloads = link, RedisKeys(key), payloads or Payloads()
        self._min_idle_ms = min_idle_ms
        self._stream, self._dead = self._keys.stream, self._keys.dead
        self._groups: list[str] = []
        self._history, self._held = History(link), Held()
        self._entry_bytes = _FIRST_GUESS_BYTES

    async def ensure_groups(self, names: Sequence[str]) -> None:
        self._groups = sorted({*self._groups, *names})
        await self._create()

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        if stranded := await self._recover(group, consumer, max_bytes):
            return stranded
        block = ("BLOCK", block_ms) if block_ms else ()
        count = self._count(max_entries, max_bytes)
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *block, "STREAMS", self._stream, ">")
        return await self._handed(group, consumer, await self._taken(group, consumer, command), max_bytes)

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        """Replays first: nothing but this hands them out."""
        count = self._count(max_entries, _CLAIM_BYTES)
        if await self._link.call("XLEN", self._keys.again(group)):
            due = await self._claim_in(AGAIN, group, consumer, min_idle_ms, count)
            if due or (due := await self._read_again(group, consumer, count)):
                return due
        return await self._claim_in("", group, consumer, min_idle_ms, count)

    async def _read_again(self, group: str, consumer: str, count: int) -> list[Delivery]:
        """An answer that is lost here costs the lease's time: then the entries are claimed."""
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", self._keys.again(group), ">")
        found = _entries(await self._of_group(command))
        return await self._handed(group, consumer, [Taken.of(entry, 1, AGAIN) for entry in found], _CLAIM_BYTES)

    async def _claim_in(self, lane: str, group: str, consumer: str, min_idle_ms: int, count: int) -> list[Delivery]:
        stream = self._in(lane, group)
        rows = await self._of_group(("XPENDING", stream, group, "IDLE", min_idle_ms, "-", "+", count))
        counts = {row[0]: int(row[3]) for row in rows}
        healthy = [i for i, times in counts.items() if times % RETRY_STEP < SUSPECT_AFTER]
        ids = healthy or list(counts)[:1]
        if not ids:
            return []
        answer = await self._of_group(("XCLAIM", stream, group, consumer, min_idle_ms, *ids))
        found = [Taken.of(entry, counts[entry[0]] + 1, lane) for entry in answer if entry and entry[1]]
        return await self._handed(group, consumer, found, _CLAIM_BYTES)

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        kept: set[str] = set()
        for lane, ids in self._history.lanes(keys):
            of = await self._run("extend", [self._in(lane, group)], [group, consumer, *ids])
            kept.update(self._history.key(lane + i.decode()) for i in of)
        return kept

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        for lane, ids in self._history.lanes(keys):
            arguments = [group, lane.rstrip("/"), self._history.id, *ids]
            if await self._run("ack", [self._in(lane, group), self._keys.counters], arguments) < 0:
                await self._history.learn()
                break
        self._let_go(group, keys)

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        """A delay beyond the idle time that a claim asks for is cut to it: the server keeps no longer alarm."""
        await self._give_back("retry", group, consumer, keys, max(0, self._min_idle_ms - delay_ms))

    async def _give_back(self, script: str, group: str, consumer: str, keys: Sequence[str], idle_ms: int) -> None:
        for lane, ids in self._history.lanes(keys):
            await self._run(script, [self._in(lane, group)], [group, consumer, idle_ms, *ids])
        self._let_go(group, keys)

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        """The letter of a claimed event has a copy of its payload: it must outlive the folder's age."""
        done: int | bytes = 0
        for lane, ids in self._history.lanes([key]):
            keys = [self._in(lane, group), self._keys.counters, self._keys.dead(group)]
            arguments = [group, consumer, *ids, reason, detail, time.time_ns() // 1_000_000, lane.rstrip("/")]
            done = await self._run("bury", keys, arguments)
            if isinstance(done, bytes):
                done = await self._run("bury", keys, [*arguments, *await self._copy(done)])
        self._let_go(group, [key])
        return bool(done)

    async def _copy(self, claim: bytes) -> tuple[bytes, bytes]:
        try:
            return COMPRESSED, await self._payloads.compressed({CLAIMED: claim})
        except ClaimAway as error:
            raise BusUnavailable(str(error)) from error
        except ClaimLost:
            return CLAIMED, claim

    async def _recover(self, group: str, consumer: str, max_bytes: int) -> list[Delivery]:
        """After a lost answer: entries that the server has handed to this consumer, and nobody here has."""
        if not self._held.is_shaken(group, consumer):
            return []
        await self._history.learn()
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", 1000, "STREAMS", self._stream, "0")
        held = self._held.of(group, consumer)
        found = [one for one in await self._taken(group, consumer, command) if one.id not in held]
        self._held.calm(group, consumer)
        return await self._handed(group, consumer, found, max_bytes)

    async def _taken(self, group: str, consumer: str, command: tuple[Any, ...]) -> list[Taken]:
        try:
            answer = await self._of_group(command, blocks="BLOCK" in command)
        except BusUnavailable:
            self._held.shake(group, consumer)
            raise
        return [Taken.of(entry, 1) for entry in _entries(answer)]

    async def _handed(self, group: str, consumer: str, taken: list[Taken], max_bytes: int) -> list[Delivery]:
        """With payloads; what would be too much at once goes back as if it had not been handed out."""
        self._held.add(group, consumer, [one.id for one in taken])
        handed: list[Delivery] = []
        back, size = [], 0
        try:
            for one in taken:
                self._entry_bytes = (self._entry_bytes * 15 + one.size) // 16 + 1
                key = self._history.key(one.id)
                if handed and size + one.size > max_bytes and not one.is_plain:
                    back.append(key)
                elif (payload := await self._opened(group, consumer, key, one)) is not None:
                    size += one.size
                    handed.append(one.delivery(key, payload))
            if back:
                await self._give_back("release", group, consumer, back, self._min_idle_ms)
        except BaseException:  # what is handed to nobody is to be found again
            self._held.let_go(group, [one.id for one in taken])
            self._held.shake(group, consumer)
            raise
        return handed

    async def _opened(self, group: str, consumer: str, key: str, one: Taken) -> bytes | None:
        """None for what cannot be handed on; it is settled here."""
        try:
            payload = await self._payloads.open(one.fields)
        except ClaimAway as error:
            self._payloads.note_away(error)
            await self.retry_in(group, consumer, [key], self._min_idle_ms)
            return None
        except ClaimLost as error:
            await self._lose(group, consumer, key, one, str(error))
            return None
        if CLAIMED in one.fields:
            self._payloads.note_away(None)
        return payload

    async def _lose(self, group: str, consumer: str, key: str, one: Taken, detail: str) -> None:
        if one.retries < _LOOKS - 1:
            await self.retry_in(group, consumer, [key], self._min_idle_ms)
        elif await self.dead_letter(group, consumer, key, reason=CLAIM_LOST, detail=detail):
            event = one.fields[b"i"].hex()
            log(_logger, logging.ERROR, "a large event is lost to a backend", group=group, event=event, error=detail)

    async def _of_group(self, command: tuple[Any, ...], *, blocks: bool = False) -> Any:
        """A command on a group; one that is gone is made again at the beginning: duplicates, no loss."""
        await self._history.follow()
        try:
            answer = await (self._link.block(*command) if blocks else self._link.call(*command))
            await self._history.follow()
            return answer
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._create()
            return []

    async def _create(self) -> None:
        await self._run("create", [self._stream, self._keys.producers, self._keys.counters], list(self._groups))
        await self._history.learn()

    async def _create_lanes(self) -> None:
        """What is owed for replays that a server has lost could otherwise never be settled."""
        for group in self._groups:
            with contextlib.suppress(ResponseError):  # it is there
                await self._link.call("XGROUP", "CREATE", self._keys.again(group), group, "0", "MKSTREAM")

    def _count(self, max_entries: int, max_bytes: int) -> int:
        """Entries that will be about so large, by those of late."""
        return max(1, min(max_entries, max_bytes // self._entry_bytes))

    def _in(self, lane: str, group: str) -> bytes:
        return self._keys.again(group) if lane else self._stream

    def _let_go(self, group: str, keys: Sequence[str]) -> None:
        self._held.let_go(group, [id_of(key) for key in keys])

    async def _run(self, name: str, keys: list[bytes], arguments: list[Any]) -> Any:
        try:
            return await self._link.run(SCRIPTS[name], keys, arguments)
        except ResponseError as error:
            if "NOGROUP" in str(error):
                await self._create()
                await self._create_lanes()
                raise BusUnavailable("a consumer group was gone; it has been made again") from error
            raise BusUnavailable(f"Redis refuses {name}: {error}") from error


def _entries(answer: Any) -> list[Any]:
    """Of the one stream that was asked for; an entry that somebody deleted has no fields and is left out."""
    return [entry for _, part in answer or [] for entry in part if entry[1]]
