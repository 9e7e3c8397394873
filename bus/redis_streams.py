"""The Bus protocol on one Redis stream: production's bus, for any number of hosts.

Works with what Redis 6.2, Redis 7 and Valkey have in common and with ElastiCache's restrictions: no CONFIG, no MULTI,
no MAXLEN. What must be atomic is a Lua script over keys of one hash slot; all of them lie in `lua/`.

    {key}:evt  the stream      {key}:hw  producers: spool -> epoch:high water     {key}:ctr  counters per group
    {key}:dead:<group>  dead letters                  {key}:span:<spool>  which part of a spool lies where
    {key}:again:<group>  events given back from dead letters, for this group alone (see redis_letters)
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from redis.exceptions import ResponseError

from bus.bus import SUSPECT_AFTER, AppendResult, AppendStatus, BusStats, Delivery, Entry, GroupStats
from bus.errors import BusUnavailable
from bus.redis_link import RedisLink, check_server, evicts_any_key

RETRY_STEP: Final = 1000
"""The server's delivery counter holds retries * RETRY_STEP + hand-outs since the last word."""
_TRIM_AT_ONCE: Final = 10_000
_FIRST_GUESS_BYTES: Final = 4096
_GUARD_EVERY_S: Final = 1.0
_FULLEST: Final = 0.7  # of maxmemory: above it the pending lists and dead letters need what is left
_AGAIN: Final = "again/"  # begins the id of an entry that lies in its group's replays
_SCRIPTS: Final = {path.stem: path.read_text() for path in sorted(Path(__file__).with_name("lua").glob("*.lua"))}


class RedisStreams:
    """One consumer group per backend. Raises BusUnavailable while the server is away; the outcome is then unknown."""

    def __init__(self, link: RedisLink, key: str, *, min_idle_ms: int) -> None:
        self._link = link
        self._min_idle_ms = min_idle_ms
        self._tag = b"{" + key.encode() + b"}"
        self._stream, self._producers = self._tag + b":evt", self._tag + b":hw"
        self._counters = self._tag + b":ctr"
        self._groups: list[str] = []
        self._history = self._learned_from = ""
        self._out: dict[str, set[str]] = {}
        """Per group and consumer what this process holds, so that a lost answer can be told from running work."""
        self._is_shaken: set[str] = set()
        self._entry_bytes = _FIRST_GUESS_BYTES
        self._guarded_at = -_GUARD_EVERY_S

    async def check(self) -> str:
        """A line on the server's durability. Raises BusError when it must not be used, BusUnavailable."""
        return await check_server(self._link)

    async def append(self, spool: bytes, epoch: int, first_seq: int, entries: Sequence[Entry]) -> AppendResult:
        if entries:
            await self._guard_memory()
        arguments: list[Any] = [spool, epoch, first_seq, len(entries)]
        for entry in entries:
            arguments += (entry.event_id, entry.payload)
        keys = [self._stream, self._producers, self._counters, self._spans(spool)]
        status, known, high_water, added = await self._run("append", keys, arguments)
        if status == b"NOSTREAM":
            await self._create()
            status, known, high_water, added = await self._run("append", keys, arguments)
        if status == b"NOSTREAM":
            raise BusUnavailable("the stream vanished twice; is another program deleting it?")
        return AppendResult(AppendStatus(status.decode().lower()), known, high_water, added)

    async def ensure_groups(self, names: Sequence[str]) -> None:
        self._groups = sorted({*self._groups, *names})
        await self._create()

    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]:
        if stranded := await self._recover(group, consumer):
            return stranded
        count = max(1, min(max_entries, max_bytes // self._entry_bytes))
        block = ("BLOCK", block_ms) if block_ms else ()
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *block, "STREAMS", self._stream, ">")
        return await self._taken(group, consumer, command)

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]:
        """Replays first: nothing but this hands them out."""
        if await self._link.call("XLEN", self._again(group)):
            due = await self._claim_in(_AGAIN, group, consumer, min_idle_ms, max_entries)
            if due or (due := await self._read_again(group, consumer, max_entries)):
                return due
        return await self._claim_in("", group, consumer, min_idle_ms, max_entries)

    async def _read_again(self, group: str, consumer: str, max_entries: int) -> list[Delivery]:
        """An answer that is lost here costs the lease's time: then the entries are claimed."""
        stream = self._again(group)
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", max_entries, "STREAMS", stream, ">")
        found = [entry for _, part in await self._of_group(command) or [] for entry in part]
        return [self._delivery(i, fields, 1, _AGAIN) for i, fields in found if fields]

    async def _claim_in(
        self, lane: str, group: str, consumer: str, min_idle_ms: int, max_entries: int
    ) -> list[Delivery]:
        stream = self._again(group) if lane else self._stream
        command = ("XPENDING", stream, group, "IDLE", min_idle_ms, "-", "+", max_entries)
        rows = await self._of_group(command)
        counts = {row[0].decode(): int(row[3]) for row in rows}
        healthy = [i for i, count in counts.items() if count % RETRY_STEP < SUSPECT_AFTER]
        ids = healthy or list(counts)[:1]
        if not ids:
            return []
        answer = await self._of_group(("XCLAIM", stream, group, consumer, min_idle_ms, *ids))
        entries = [entry for entry in answer if entry is not None]
        self._hold(group, consumer, [lane + entry[0].decode() for entry in entries])
        return [self._delivery(i, fields, counts[i.decode()] + 1, lane) for i, fields in entries if fields]

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]:
        kept: set[str] = set()
        for lane, stream, ids in self._lanes(group, keys):
            of = await self._run("extend", [stream], [group, consumer, *ids])
            kept.update(f"{self._history}/{lane}{i.decode()}" for i in of)
        return kept

    async def ack(self, group: str, keys: Sequence[str]) -> None:
        for lane, stream, ids in self._lanes(group, keys):
            done = await self._run("ack", [stream, self._counters], [group, lane.rstrip("/"), self._history, *ids])
            if done < 0:
                await self._learn_history()
                break
        self._let_go(group, keys)

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None:
        """A delay beyond the idle time that a claim asks for is cut to it: the server keeps no longer alarm."""
        idle_ms = max(0, self._min_idle_ms - delay_ms)
        for _, stream, ids in self._lanes(group, keys):
            await self._run("retry", [stream], [group, consumer, idle_ms, *ids])
        self._let_go(group, keys)

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool:
        now_ms = time.time_ns() // 1_000_000
        for lane, stream, ids in self._lanes(group, [key]):
            arguments = [group, consumer, *ids, reason, detail, now_ms, lane.rstrip("/")]
            done = await self._run("bury", [stream, self._counters, self._dead(group)], arguments)
            self._let_go(group, [key])
            return bool(done)
        return False

    async def trim(self) -> int:
        total = 0
        while count := await self._run("trim", [self._stream], [_TRIM_AT_ONCE, *self._groups]):
            total += count
        return total

    async def delivered_through(self, spool: bytes) -> int:
        return int(await self._run("through", [self._stream, self._producers, self._spans(spool)], [spool]))

    async def retire(self, spool: bytes) -> None:
        await self._link.call("HDEL", self._producers, spool, spool + b":through")
        await self._link.call("DEL", self._spans(spool))

    async def stats(self) -> BusStats:
        entries, appended, _, *groups = await self._run("stats", [self._stream, self._counters], [])
        size = await self._link.call("MEMORY", "USAGE", self._stream)
        told = (
            GroupStats(name.decode(), pending, lag, oldest_ms, dead, delivered, purged, earlier)
            for name, pending, lag, oldest_ms, dead, delivered, purged, earlier in groups
        )
        return BusStats(entries, int(size or 0), appended, tuple(sorted(told, key=lambda g: g.name)))

    async def close(self) -> None:
        await self._link.close()

    async def _guard_memory(self) -> None:
        """Once a second. Raises BusUnavailable: the spool is the buffer then, and the server keeps room to deliver."""
        if time.monotonic() - self._guarded_at < _GUARD_EVERY_S:
            return
        memory = await self._link.info("memory")
        most, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
        if evicts_any_key(memory):
            raise BusUnavailable("Redis evicts any key, so also events; set maxmemory-policy noeviction")
        if most and used > most * _FULLEST:
            raise BusUnavailable(f"Redis uses {used * 100 // most} % of its maxmemory; events wait in the spool")
        self._guarded_at = time.monotonic()

    async def _create(self) -> None:
        await self._run("create", [self._stream, self._producers, self._counters], list(self._groups))
        await self._learn_history()

    async def _learn_history(self) -> None:
        """Ids may name other entries after a failover or a flush; what is held from before is then not acknowledged."""
        info = await self._link.info("replication")
        self._history, self._learned_from = str(info.get("master_replid", ""))[:12], self._link.node

    async def _recover(self, group: str, consumer: str) -> list[Delivery]:
        """After a lost answer: entries that the server has handed to this consumer, and nobody here has."""
        name = _holder(group, consumer)
        if name not in self._is_shaken:
            return []
        await self._learn_history()
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", 1000, "STREAMS", self._stream, "0")
        held = self._out.get(name, set())
        found = [d for d in await self._taken(group, consumer, command, holding=False) if self._id(d.key) not in held]
        self._hold(group, consumer, [self._id(d.key) for d in found])
        self._is_shaken.discard(name)
        return found

    async def _taken(
        self, group: str, consumer: str, command: tuple[Any, ...], *, holding: bool = True
    ) -> list[Delivery]:
        try:
            answer = await self._of_group(command, blocks="BLOCK" in command)
        except BusUnavailable:
            self._is_shaken.add(_holder(group, consumer))
            raise
        entries = [entry for _, part in answer or [] for entry in part]
        if holding:
            self._hold(group, consumer, [i.decode() for i, _ in entries])
        return [self._delivery(i, fields, 1) for i, fields in entries if fields]

    async def _of_group(self, command: tuple[Any, ...], *, blocks: bool = False) -> Any:
        """A command on a group; one that is gone is made again at the beginning: duplicates, no loss."""
        if not self._history:
            await self._learn_history()
        try:
            answer = await (self._link.block(*command) if blocks else self._link.call(*command))
            if self._link.node != self._learned_from:
                await self._learn_history()
            return answer
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._create()
            return []

    def _delivery(self, entry_id: bytes, fields: list[bytes], count: int, lane: str = "") -> Delivery:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        payload: bytes = named[b"p"]
        self._entry_bytes = (self._entry_bytes * 15 + len(payload)) // 16 + 1
        retries, hand_outs = divmod(count, RETRY_STEP)
        key = f"{self._history}/{lane}{entry_id.decode()}"
        return Delivery(key, named[b"i"], retries + hand_outs, payload, max(0, hand_outs - 1))

    def _hold(self, group: str, consumer: str, ids: Sequence[str]) -> None:
        self._out.setdefault(_holder(group, consumer), set()).update(ids)

    def _let_go(self, group: str, keys: Sequence[str]) -> None:
        ids = [self._id(key) for key in keys]
        for name, held in self._out.items():
            if name.startswith(f"{group}\n"):
                held.difference_update(ids)

    def _lanes(self, group: str, keys: Sequence[str]) -> Iterator[tuple[str, bytes, list[str]]]:
        """Ids of this history by the stream that they lie in; a stream without any is left out."""
        ids = [self._id(key) for key in keys if key.partition("/")[0] == self._history]
        plain = [i for i in ids if not i.startswith(_AGAIN)]
        if plain:
            yield "", self._stream, plain
        if len(plain) < len(ids):
            yield _AGAIN, self._again(group), [i.removeprefix(_AGAIN) for i in ids if i.startswith(_AGAIN)]

    def _id(self, key: str) -> str:
        return key.partition("/")[2]

    def _spans(self, spool: bytes) -> bytes:
        return self._tag + b":span:" + spool.hex().encode()

    def _again(self, group: str) -> bytes:
        return self._tag + b":again:" + group.encode()

    def _dead(self, group: str) -> bytes:
        return self._tag + b":dead:" + group.encode()

    async def _run(self, name: str, keys: list[bytes], arguments: list[Any]) -> Any:
        try:
            return await self._link.run(_SCRIPTS[name], keys, arguments)
        except ResponseError as error:
            if "NOGROUP" in str(error):
                await self._create()
                raise BusUnavailable("a consumer group was gone; it has been made again") from error
            raise BusUnavailable(f"Redis refuses {name}: {error}") from error


def _holder(group: str, consumer: str) -> str:
    return f"{group}\n{consumer}"
