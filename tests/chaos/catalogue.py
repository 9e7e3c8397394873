"""All kinds of faults that there are, by name."""

from tests.chaos.fault import Kind
from tests.chaos.faults import (
    backends,
    clients,
    damage,
    dispatchers,
    kills,
    limits,
    redis_links,
    redis_servers,
    room,
    sinks,
)

KINDS: dict[str, Kind] = {
    found.name: found
    for module in (kills, clients, backends, sinks, damage, room, dispatchers, limits, redis_servers, redis_links)
    for found in vars(module).values()
    if isinstance(found, Kind)
}


def kinds_for(shape: str) -> list[Kind]:
    return [kind for kind in KINDS.values() if shape in kind.shapes]


def only_for(shape: str) -> list[Kind]:
    """Those that no other deployment knows."""
    return [kind for kind in KINDS.values() if kind.shapes == (shape,)]
