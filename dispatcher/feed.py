"""What a worker is fed from: the consumer's half of `bus.bus.Bus`, whose words hold here. A replay has only it."""

from collections.abc import Sequence
from typing import Protocol

from bus.bus import Delivery


class Feed(Protocol):
    async def read(
        self, group: str, consumer: str, *, max_entries: int, max_bytes: int, block_ms: int
    ) -> list[Delivery]: ...

    async def claim(self, group: str, consumer: str, *, min_idle_ms: int, max_entries: int) -> list[Delivery]: ...

    async def extend(self, group: str, consumer: str, keys: Sequence[str]) -> set[str]: ...

    async def ack(self, group: str, keys: Sequence[str]) -> None: ...

    async def retry_in(self, group: str, consumer: str, keys: Sequence[str], delay_ms: int) -> None: ...

    async def dead_letter(self, group: str, consumer: str, key: str, *, reason: str, detail: str) -> bool: ...
