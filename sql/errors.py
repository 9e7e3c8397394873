"""StoreError
+- StoreUnavailable   the database does not answer, is locked for too long or out of connections: ask again
|   +- StoreFull      the disk is full, or the folder may not be written to
+- Conflict           a unique value is taken; `field` says which
+- BrokenReference    the row points at one that is not there
+- Unstorable         a value does not fit its column
+- SchemaMismatch     migrations have not been applied, or the schema is newer than this program
+- SealBroken         a sealed value does not open with ENCRYPTION_KEY
"""


class StoreError(Exception):
    """Base of all errors of this package. Its text holds no value of a row."""


class StoreUnavailable(StoreError):
    """Try again later; a write may or may not have happened."""


class StoreFull(StoreUnavailable):
    """Writing is impossible until there is room, or the folder may be written to."""


class Conflict(StoreError):
    """Another row has this value."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is taken")
        self.field = field


class BrokenReference(StoreError):
    """The row names another row that does not exist (a token of no project)."""


class Unstorable(StoreError):
    """A number beyond 64 bits, or text that is no Unicode: nothing was written."""


class SchemaMismatch(StoreError):
    """Run `llm-proxy migrate up`, or a newer program."""


class SealBroken(StoreError):
    """The value was sealed with another ENCRYPTION_KEY."""
