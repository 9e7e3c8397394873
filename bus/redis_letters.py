"""Dead letters on Redis: a stream per group, and a stream per group for what is given back.

{key}:dead:<group>  letters        {key}:again:<group>  replayed events, which `RedisStreams.claim` takes first
"""

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from bus.dead_letters import AT_ONCE, Letter, LetterPage, OpenedLetter, event_id_text
from bus.errors import BusError, BusUnavailable, ClaimAway, ClaimLost
from bus.redis_keys import RETRY_STEP, SCRIPTS, RedisKeys
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads

QUIET_MS: Final = 10_000
"""A group of which no consumer was heard for so long is not at work."""

_SCAN: Final = 1000  # letters that one script looks at: some ten milliseconds of the server


class RedisLetters:
    """The DeadLetters of a stream. Whoever gave the link closes it."""

    def __init__(self, link: RedisLink, key: str, payloads: Payloads | None = None) -> None:
        self._link, self._keys, self._payloads = link, RedisKeys(key), payloads or Payloads()

    async def letters(self, group: str, *, reason: str = "", before: str = "", limit: int = AT_ONCE) -> LetterPage:
        if before and not _is_id(before):
            return LetterPage(())
        after, *rows = await self._run("letters", [self._keys.dead(group)], [before, reason, limit, _SCAN])
        return LetterPage(tuple(_letter(row) for row in rows), after.decode())

    async def letter(self, group: str, letter_id: str) -> OpenedLetter | None:
        if not _is_id(letter_id):
            return None
        found = await self._link.call("XRANGE", self._keys.dead(group), letter_id, letter_id)
        if not found:
            return None
        entry_id, fields = found[0]
        of = dict(zip(fields[::2], fields[1::2], strict=True))
        first = of.get(b"first") or of.get(b"id", entry_id).partition(b"-")[0]
        size = int(of.get(b"n") or len(of[b"p"]))
        row = [entry_id, of[b"i"], of[b"reason"], of[b"detail"], of[b"deliveries"], first, of[b"at"], size]
        return OpenedLetter(_letter(row), await self._opened(of))

    async def _opened(self, fields: dict[bytes, bytes]) -> bytes:
        """Empty for a payload that is gone; the letter says so."""
        try:
            return await self._payloads.open(fields)
        except (ClaimAway, ClaimLost):
            return b""

    async def replay_letters(self, group: str, ids: Sequence[str]) -> int:
        keys = [self._keys.dead(group), self._keys.again(group), self._keys.counters]
        return int(await self._run("replay", keys, [group, *filter(_is_id, ids)]))

    async def purge_letters(self, group: str, ids: Sequence[str]) -> int:
        return int(
            await self._run("purge", [self._keys.dead(group), self._keys.counters], [group, *filter(_is_id, ids)])
        )

    async def forget_group(self, group: str) -> bool:
        keys = [self._keys.stream, self._keys.counters, self._keys.dead(group), self._keys.again(group)]
        done = await self._run("forget", keys, [group, QUIET_MS])
        if done < 0:
            raise BusError(f"the backend {group} is at work; stop its dispatchers first, then try in {QUIET_MS} ms")
        return bool(done)

    async def _run(self, name: str, keys: list[bytes], arguments: list[Any]) -> Any:
        try:
            return await self._link.run(SCRIPTS[name], keys, arguments)
        except ResponseError as error:
            raise BusUnavailable(f"Redis refuses {name}: {error}") from error


def _letter(row: Sequence[Any]) -> Letter:
    letter_id, event_id, reason, detail, count, first_ms, at_ms, size = row
    retries, hand_outs = divmod(int(count), RETRY_STEP)
    told = (reason.decode(errors="replace"), detail.decode(errors="replace"))
    return Letter(
        letter_id.decode(), event_id_text(event_id), *told, retries + hand_outs, int(first_ms), int(at_ms), size
    )


def _is_id(text: str) -> bool:
    ms, dash, number = text.partition("-")
    fits = 0 < len(ms) < 20 and 0 < len(number) < 20  # of 64 bits; the server refuses larger ones
    return bool(dash) and fits and text.isascii() and ms.isdigit() and number.isdigit()
