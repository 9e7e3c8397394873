"""What can go wrong on the event's way.

BusError
 +- SpoolFull         the bound is reached; says whether the event was dropped or is to be refused
 +- SpoolUnusable     the folder cannot be written (read-only, disk full at rotation, I/O error)
 +- BusUnavailable    the bus did not answer, or the outcome of a write is unknown: ask again
 +- ClaimAway         the folder of large events is not there: its payloads may come back
 +- ClaimLost         a large event's payload is gone or damaged
 +- Undecodable       bytes that are no event of ours
"""


class BusError(Exception):
    """Base of all errors of this package."""


class SpoolFull(BusError):
    """No room within LLM_PROXY_SPOOL_MAX_BYTES or on the disk. Its text is the reason as drop counters name it."""


class SpoolUnusable(BusError):
    """The spool's folder cannot take another segment."""


class BusUnavailable(BusError):
    """Try again; a write may or may not have happened."""


class ClaimAway(BusError):
    """The folder that large payloads lie in cannot be reached; they may be there still."""


class ClaimLost(BusError):
    """A large payload is not where it was put, or not what was put there."""


class Undecodable(BusError):
    """Not an event, or of a version that this program does not know."""
