"""How all events stand: what the keeper and the bus tell of them, and the ledger that it makes.

The embedded log is asked through the keeper. Redis is asked itself where no keeper runs on this host; nothing is known
of any relay then.
"""

import asyncio
from typing import Final

from msgspec import Struct

from bus.errors import BusUnavailable
from bus.inspection import Inspection, KeeperStats
from bus.ledger import Ledger, ledger_of
from config import paths
from config.checks import is_bus_shared
from config.settings import Settings

LOOKS: Final = 20
_LOOK_S: Final = 0.2  # between looks: a relay needs less than a second to note what the bus has taken


class Standing(Struct, frozen=True):
    stats: KeeperStats
    ledger: Ledger
    has_keeper: bool
    """False: Redis alone has answered."""


async def standing(settings: Settings, *, looks: int = LOOKS) -> Standing:
    """Looks again while the relay has not noted yet what the bus has taken. Raises BusUnavailable."""
    is_shared = is_bus_shared(settings)
    has_keeper, first = await _ask(settings)
    ledger = ledger_of(first.bus, first.relay, first.relay, is_shared=is_shared)
    for _ in range(looks):
        if ledger.relay_missing >= 0:
            break
        await asyncio.sleep(_LOOK_S)
        _, after = await _ask(settings)
        ledger = ledger_of(first.bus, first.relay, after.relay, is_shared=is_shared)
    return Standing(first, ledger, has_keeper)


def verdict(ledger: Ledger) -> str:
    """Whether it closes, and what is open when it does not."""
    if ledger.closes:
        return "the ledger closes"
    if ledger.relay_missing > 0:
        return f"the ledger does not close: the bus does not know of {ledger.relay_missing} events that it was given"
    if ledger.relay_missing < 0:
        return f"the ledger does not close: the bus has {-ledger.relay_missing} events that no relay knows of"
    return "the ledger does not close: see the column `missing`"


async def _ask(settings: Settings) -> tuple[bool, KeeperStats]:
    """Whether a keeper told it, and what."""
    try:
        return True, await Inspection(paths.keeper_socket(settings)).stats()
    except BusUnavailable:
        if not is_bus_shared(settings):
            raise
    from bus.redis_bus import open_redis

    bus = open_redis(settings)
    try:
        return False, KeeperStats(await bus.stats())
    finally:
        await bus.close()
