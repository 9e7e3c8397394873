"""StoreError
 +- StoreUnavailable   the database does not answer, is locked for too long or out of connections: ask again
 +- StoreFull          the disk is full or read-only
 +- Conflict           a unique value is taken; `field` says which
 +- SchemaMismatch     migrations have not been applied, or the schema is newer than this program
 +- SealBroken         a sealed value does not open with ENCRYPTION_KEY
"""


class StoreError(Exception):
    """Base of all errors of this package."""


class StoreUnavailable(StoreError):
    """Try again later; nothing is known about the row that was asked for."""


class StoreFull(StoreUnavailable):
    """Writing is impossible until there is room, or the folder may be written to."""


class Conflict(StoreError):
    """Another row has this value."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is taken")
        self.field = field


class SchemaMismatch(StoreError):
    """Run `llm-proxy migrate up`, or a newer program."""


class SealBroken(StoreError):
    """The value was sealed with another ENCRYPTION_KEY."""
