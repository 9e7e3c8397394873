"""What a backend is to the dispatcher: it takes a batch and says of each event what became of it.

A backend never retries, waits or acknowledges; `dispatcher.settle` decides what an outcome means. Delivering an event
twice must be harmless: `event.event_id` is the key to make it so.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from bus.event import ExchangeFinished


class Delivered(Struct, frozen=True):
    """One event of a batch."""

    event: ExchangeFinished
    key: str
    deliveries: int
    """Above 1 the backend may have it already."""


class Ok(Struct, frozen=True):
    """The backend has it for good."""


class Retry(Struct, frozen=True):
    """Surely not taken, and not the event's fault: the backend is away, busy or full."""

    reason: str
    after_ms: int | None = None
    """When the backend named a time; None lets the backoff decide."""


class Unknown(Struct, frozen=True):
    """Perhaps taken: a time-out or a cut connection. Tried again, so the backend may see it twice."""

    reason: str


class Permanent(Struct, frozen=True):
    """Refused, and will be refused again. For a whole batch it is doubted: each half is tried alone."""

    reason: str
    is_sure: bool = False
    """The backend judged this very event, so that trying it alone would only repeat the answer."""


Outcome = Ok | Retry | Unknown | Permanent


class BackendUnavailable(Exception):
    """`open` did not work for a reason that may pass; the message says what to do."""


class Backend(Protocol):
    name: str
    """Also the name of its consumer group: never change it."""

    async def open(self) -> None:
        """Before the first delivery. Raises BackendUnavailable, and is then asked again."""
        ...

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        """One outcome per event, in order. May be cancelled at its time-out, which counts as Unknown."""
        ...

    async def close(self) -> None: ...
