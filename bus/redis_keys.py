"""The names of a bus's keys on Redis, and the scripts that work on them.

    {key}:evt  the stream      {key}:hw  producers: spool -> epoch:high water     {key}:ctr  counters per group
    {key}:dead:<group>  dead letters                  {key}:span:<spool>  which part of a spool lies where
    {key}:again:<group>  events given back from dead letters and parking lots, for this group alone
    {key}:claims  which folder large payloads lie in (see redis_payloads)

An entry has the event's id as `i`, and its payload as `p`; or as `z`, compressed, or `r`, a claim, its size as `n`.
"""

from pathlib import Path
from typing import Final

RETRY_STEP: Final = 1000
"""The server's delivery counter of an entry holds retries * RETRY_STEP + hand-outs since the last word."""
SCRIPTS: Final = {path.stem: path.read_text() for path in sorted(Path(__file__).with_name("lua").glob("*.lua"))}


class RedisKeys:
    def __init__(self, key: str) -> None:
        """All of them lie in one hash slot, so that a script may use several."""
        self._tag = b"{" + key.encode() + b"}"
        self.stream, self.producers = self._tag + b":evt", self._tag + b":hw"
        self.counters, self.claims = self._tag + b":ctr", self._tag + b":claims"

    def spans(self, spool: bytes) -> bytes:
        return self._tag + b":span:" + spool.hex().encode()

    def again(self, group: str) -> bytes:
        return self._tag + b":again:" + group.encode()

    def dead(self, group: str) -> bytes:
        return self._tag + b":dead:" + group.encode()
