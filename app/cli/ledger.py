"""`llm-proxy ledger`: whether every recorded event is delivered, dead, on its way, or counted as gone, per backend."""

import asyncio
from typing import TYPE_CHECKING, Final

import typer

from app.cli import output
from app.cli.options import AsJson, EnvFile, settings_with

if TYPE_CHECKING:
    from bus.inspection import KeeperStats
    from bus.ledger import Ledger
    from config.settings import Settings

_COLUMNS = (
    "backend",
    "recorded",
    "delivered",
    "dead",
    "pending",
    "waiting",
    "purged",
    "earlier",
    "lost",
    "dropped",
    "missing",
)
_LOOKS: Final = 20
_LOOK_S: Final = 0.2  # between looks: a relay needs less than a second to note what the bus has taken


def ledger(env: EnvFile = None, as_json: AsJson = False) -> None:
    """Show per backend where all recorded events are. Exit code 1 when that does not add up.

    recorded = delivered + dead + pending + waiting + purged + earlier + lost + dropped; `missing` is what is left.

    \b
    Example:
      llm-proxy ledger --json
    """
    from app.cli.failures import FAILED

    found = asyncio.run(_ledger(settings_with({}, env)))
    if as_json:
        output.as_json({"closes": found.closes, "relay_missing": found.relay_missing, "accounts": found.accounts})
    else:
        output.table([{name: getattr(row, name) for name in _COLUMNS} for row in found.accounts], _COLUMNS)
        output.say()
        output.say(_verdict(found))
    if not found.closes:
        raise typer.Exit(FAILED)


def _verdict(found: "Ledger") -> str:
    if found.closes:
        return "the ledger closes"
    if found.relay_missing > 0:
        return f"the ledger does not close: the bus does not know of {found.relay_missing} events that it was given"
    if found.relay_missing < 0:
        return f"the ledger does not close: the bus has {-found.relay_missing} events that no relay knows of"
    return "the ledger does not close: see the column `missing`"


async def _ledger(settings: "Settings") -> "Ledger":
    """Looks again while the relay has not noted yet what the bus has taken."""
    from bus.ledger import ledger_of
    from config.checks import is_bus_shared

    is_shared = is_bus_shared(settings)
    first = after = await _stats(settings)
    found = ledger_of(first.bus, first.relay, after.relay, is_shared=is_shared)
    for _ in range(_LOOKS):
        if found.relay_missing >= 0:
            break
        await asyncio.sleep(_LOOK_S)
        after = await _stats(settings)
        found = ledger_of(first.bus, first.relay, after.relay, is_shared=is_shared)
    return found


async def _stats(settings: "Settings") -> "KeeperStats":
    """The keeper's; on Redis without a keeper on this host, the bus's alone."""
    from bus.errors import BusUnavailable
    from bus.inspection import Inspection, KeeperStats
    from config import paths
    from config.checks import is_bus_shared

    try:
        return await Inspection(paths.keeper_socket(settings)).stats()
    except BusUnavailable:
        if not is_bus_shared(settings):
            raise
    from bus.redis_link import RedisLink
    from bus.redis_streams import RedisStreams

    link = RedisLink.of(settings)
    bus = RedisStreams(link, settings.redis_stream_key, min_idle_ms=settings.dispatcher_min_idle_ms)
    try:
        return KeeperStats(await bus.stats())
    finally:
        await bus.close()
