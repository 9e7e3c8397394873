"""Dead letters over the shards of Redis. A letter's id is `<shard>:<the shard's own>`, in the first shard its own.

A page's `next` names how far it is in each shard that has more: `5-1,2:9-0`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from bus.dead_letters import AT_ONCE, Letter, LetterPage, OpenedLetter
from bus.shards import Shard, Shards, name_in


class ShardedLetters:
    """The DeadLetters of a sharded bus. Whoever gave the shards closes them."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def letters(self, group: str, *, reason: str = "", before: str = "", limit: int = AT_ONCE) -> LetterPage:
        await self._shards.look()
        places = self._places(before)
        pages = [
            (shard, place, await shard.letters.letters(group, reason=reason, before=place, limit=limit))
            for shard, place in places
        ]
        found = sorted(((shard, letter) for shard, _, page in pages for letter in page.letters), key=_age, reverse=True)
        taken = found[:limit]
        further = [
            name_in(shard.number, at) for shard, place, page in pages if (at := _further(shard, place, page, taken))
        ]
        return LetterPage(tuple(_named(shard, letter) for shard, letter in taken), ",".join(further))

    async def letter(self, group: str, letter_id: str) -> OpenedLetter | None:
        await self._shards.look()
        found = self._shards.named(letter_id)
        if found is None:
            return None
        shard, own = found
        opened = await shard.letters.letter(group, own)
        return replace(opened, letter=_named(shard, opened.letter)) if opened else None

    async def replay_letters(self, group: str, ids: Sequence[str]) -> int:
        await self._shards.look()
        return sum([await shard.letters.replay_letters(group, own) for shard, own in self._shards.by_shard(ids)])

    async def purge_letters(self, group: str, ids: Sequence[str]) -> int:
        await self._shards.look()
        return sum([await shard.letters.purge_letters(group, own) for shard, own in self._shards.by_shard(ids)])

    async def forget_group(self, group: str) -> bool:
        """BusError from the first shard where it is at work; what was forgotten before that stays so."""
        await self._shards.look()
        return any([await shard.letters.forget_group(group) for shard in self._shards.all])

    def _places(self, before: str) -> list[tuple[Shard, str]]:
        if not before:
            return [(shard, "") for shard in self._shards.all]
        return [place for text in before.split(",") if (place := self._shards.named(text))]


def _further(shard: Shard, place: str, page: LetterPage, taken: Sequence[tuple[Shard, Letter]]) -> str:
    """Where this shard goes on; empty at its end."""
    own = [letter for of, letter in taken if of is shard]
    if len(own) == len(page.letters):
        return page.next
    if own:
        return own[-1].id
    ms, _, number = page.letters[0].id.partition("-")
    return place or f"{ms}-{int(number) + 1}"  # what dies meanwhile is not among them


def _age(found: tuple[Shard, Letter]) -> tuple[int, int, int]:
    shard, letter = found
    ms, _, number = letter.id.partition("-")
    return int(ms), int(number), shard.number


def _named(shard: Shard, letter: Letter) -> Letter:
    return replace(letter, id=name_in(shard.number, letter.id))
