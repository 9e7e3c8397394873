"""Dead letters on Redis: a stream per group, and a stream per group for what is given back.

{key}:dead:<group>  letters        {key}:again:<group>  replayed events, which `RedisStreams.claim` takes first
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from redis.exceptions import ResponseError

from bus.dead_letters import AT_ONCE, Letter, LetterPage, OpenedLetter, event_id_text
from bus.errors import BusError, BusUnavailable
from bus.redis_link import RedisLink

QUIET_MS: Final = 10_000
"""A group of which no consumer was heard for so long is not at work."""

_RETRY_STEP: Final = 1000  # see RedisStreams: retries * 1000 + hand-outs
_SCAN: Final = 1000  # letters that one script looks at: some ten milliseconds of the server
_SCRIPTS: Final = {
    name: Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_text()
    for name in ("letters", "replay", "purge", "forget")
}


class RedisLetters:
    """The DeadLetters of a stream. Whoever gave the link closes it."""

    def __init__(self, link: RedisLink, key: str) -> None:
        self._link = link
        self._tag = b"{" + key.encode() + b"}"
        self._stream, self._counters = self._tag + b":evt", self._tag + b":ctr"

    async def letters(self, group: str, *, reason: str = "", before: str = "", limit: int = AT_ONCE) -> LetterPage:
        if before and not _is_id(before):
            return LetterPage(())
        after, *rows = await self._run("letters", [self._dead(group)], [before, reason, limit, _SCAN])
        return LetterPage(tuple(_letter(row) for row in rows), after.decode())

    async def letter(self, group: str, letter_id: str) -> OpenedLetter | None:
        if not _is_id(letter_id):
            return None
        found = await self._link.call("XRANGE", self._dead(group), letter_id, letter_id)
        if not found:
            return None
        entry_id, fields = found[0]
        of = dict(zip(fields[::2], fields[1::2], strict=True))
        first = of.get(b"first") or of.get(b"id", entry_id).partition(b"-")[0]
        row = [entry_id, of[b"i"], of[b"reason"], of[b"detail"], of[b"deliveries"], first, of[b"at"], len(of[b"p"])]
        return OpenedLetter(_letter(row), of[b"p"])

    async def replay_letters(self, group: str, ids: Sequence[str]) -> int:
        keys = [self._dead(group), self._again(group), self._counters]
        return int(await self._run("replay", keys, [group, *filter(_is_id, ids)]))

    async def purge_letters(self, group: str, ids: Sequence[str]) -> int:
        return int(await self._run("purge", [self._dead(group), self._counters], [group, *filter(_is_id, ids)]))

    async def forget_group(self, group: str) -> bool:
        keys = [self._stream, self._counters, self._dead(group), self._again(group)]
        done = await self._run("forget", keys, [group, QUIET_MS])
        if done < 0:
            raise BusError(f"the backend {group} is at work; stop its dispatchers first, then try in {QUIET_MS} ms")
        return bool(done)

    def _dead(self, group: str) -> bytes:
        return self._tag + b":dead:" + group.encode()

    def _again(self, group: str) -> bytes:
        return self._tag + b":again:" + group.encode()

    async def _run(self, name: str, keys: list[bytes], arguments: list[Any]) -> Any:
        try:
            return await self._link.run(_SCRIPTS[name], keys, arguments)
        except ResponseError as error:
            raise BusUnavailable(f"Redis refuses {name}: {error}") from error


def _letter(row: Sequence[Any]) -> Letter:
    letter_id, event_id, reason, detail, count, first_ms, at_ms, size = row
    retries, hand_outs = divmod(int(count), _RETRY_STEP)
    told = (reason.decode(errors="replace"), detail.decode(errors="replace"))
    return Letter(
        letter_id.decode(), event_id_text(event_id), *told, retries + hand_outs, int(first_ms), int(at_ms), size
    )


def _is_id(text: str) -> bool:
    ms, dash, number = text.partition("-")
    return bool(dash) and text.isascii() and ms.isdigit() and number.isdigit() and len(text) < 40
