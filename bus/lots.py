"""Parking lots, as a bus sees them: events of one group that its dispatcher keeps on disk, off the bus, for a while.

Counting a lot and acknowledging what went into it are two steps, each of which leaves the group's sum as it was, so
that a death in between costs no event and the ledger closes all the time:

    unpark, which counts n     parked +n   earlier -n
    park of m entries          pending -m  earlier +m

Where m stays smaller than n (somebody died in between) an event is parked and on the bus too, and goes out twice.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from bus.bus import BusStats


class Parked(Struct, frozen=True):
    """An event of a parking lot, on its way back; an empty payload is one that damage took."""

    event_id: bytes
    payload: bytes
    at_ms: int
    """When it was parked."""


class LotPlace(Struct, frozen=True):
    """How far a parking lot is, as its owner knows it. Its events are numbered from 0."""

    holds: int
    """All below are safe in it."""
    settled: int = 0
    """All below came back and are settled: they are not asked for again."""
    next: int = 0
    """The number of the first event that is given back now."""


class LotMarks(Struct, frozen=True):
    """How far a parking lot is, as the bus knows it."""

    counted: int
    """All below are counted as parked, until they are given back."""
    returned: int
    """All below have been given back."""
    settled: int
    """All below are delivered or dead."""


@runtime_checkable
class Lots(Protocol):
    """What a bus must do for events to be parked. Raises BusUnavailable; asking again does no harm."""

    async def park(self, group: str, keys: Sequence[str]) -> None:
        """Acknowledges entries that a lot holds, and that `unpark` has counted."""
        ...

    async def unpark(
        self, group: str, lot: bytes, place: LotPlace, events: Sequence[Parked] = (), *, room: int = 0
    ) -> LotMarks:
        """Counts what a lot holds, and gives events back to its group alone, while fewer than `room` wait there.

        Nothing is given back when `place.next` is beyond the marks: the bus has lost some, which are to come again.
        """
        ...

    async def stats(self) -> BusStats:
        """The Bus's own: whether anybody delivers to a group shows there."""
        ...

    async def end_lot(self, group: str, lot: bytes) -> None:
        """Forgets a lot whose events are all settled."""
        ...
