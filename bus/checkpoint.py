"""The few figures that lie beside the segments and survive everything, each in a file of two slots.

<root>/<uuid>/COUNTS       written by the worker: what it had to leave out
<root>/<uuid>/CHECKPOINT   written by the relay: how far it is
<root>/TOTALS              written by the relay: both of all spools that are done and deleted
"""

from typing import Final

from msgspec import Struct

COUNTS: Final = "COUNTS"
CHECKPOINT: Final = "CHECKPOINT"
TOTALS: Final = "TOTALS"


class Counts(Struct):
    dropped: dict[str, int] = {}
    """Events that found no room, by reason: spool_full, disk_full, io_error, queue_full, too_large."""
    bodies_dropped: int = 0
    """Events that were recorded without their bodies."""


class Checkpoint(Struct):
    epoch: int = 0
    """Rises by one each time a relay opens the spool, and is on disk before it is used."""
    high_water: int = -1
    """Last seq known to be in the bus. The bus knows better; this is where to start asking."""
    first_segment: int = 0
    """Older ones may be missing."""
    interrupted_from: int = -1
    """Seq of the first event made from an unfinished exchange, once the worker is dead; -1 until then."""
    interrupted: int = 0
    lost: int = 0
    """Frames that damage took."""
    lost_through: int = -1
    """Losses up to this seq are in `lost` or `unrecoverable`, so that a second reading does not count them again."""
    unrecoverable: int = 0
    """Frames that the bus lost after their segment had been deleted."""


class Totals(Struct):
    recorded: int = 0
    interrupted: int = 0
    lost: int = 0
    unrecoverable: int = 0
    bodies_dropped: int = 0
    dropped: dict[str, int] = {}
    spools: int = 0
    last: bytes = b""
    """The spool that was added last: a relay that dies before it has deleted it does not add it twice."""
