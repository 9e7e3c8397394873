"""What becomes of an event after a delivery: acknowledged, tried again, or buried. Pure: no clock, no bus, no dice.

Retries never end by count. An outage of days must not send anything to the dead letters; only a refusal of the event
itself does, or an event that kills the process that touches it.
"""

from typing import Final

from msgspec import Struct

from dispatcher.backends.base import Ok, Outcome, Permanent, Retry

CRASH_LIMIT: Final = 6
"""Hand-outs in a row without a word after which an event is taken for the killer."""

_LONGEST_ASKED_MS: Final = 600_000  # a Retry-After beyond ten minutes is asked again sooner
_DETAIL_CHARS: Final = 512


class Ack(Struct, frozen=True):
    pass


class RetryIn(Struct, frozen=True):
    delay_ms: int


class Bury(Struct, frozen=True):
    reason: str
    """A word for counters: permanent, crash_loop, undecodable."""
    detail: str


Settlement = Ack | RetryIn | Bury


class Backoff(Struct, frozen=True):
    """Full jitter: anywhere between nothing and `first_ms * 2^n`, at most `longest_ms`."""

    first_ms: int
    longest_ms: int

    def delay_ms(self, tries: int, jitter: float) -> int:
        """`tries` from 1; `jitter` in [0, 1) is the caller's dice."""
        step = self.first_ms * 2 ** min(max(tries, 1) - 1, 40)  # 40: beyond any bound, and still a small number
        return 1 + int(jitter * min(self.longest_ms, step))


def settle(outcome: Outcome, deliveries: int, backoff: Backoff, jitter: float) -> Settlement:
    """`deliveries` counts this one; one `jitter` per batch keeps its events together."""
    if isinstance(outcome, Ok):
        return Ack()
    if isinstance(outcome, Permanent):
        return Bury("permanent", outcome.reason[:_DETAIL_CHARS])
    if isinstance(outcome, Retry) and outcome.after_ms is not None:
        return RetryIn(asked_ms(outcome.after_ms, jitter))
    return RetryIn(backoff.delay_ms(deliveries, jitter))


def asked_ms(after_ms: int, jitter: float) -> int:
    """A backend's own Retry-After within reason: never sooner than asked, and not all at once."""
    bounded = min(max(0, after_ms), _LONGEST_ASKED_MS)
    return bounded + int(jitter * bounded / 10)


def is_crash_loop(crashes: int) -> bool:
    return crashes >= CRASH_LIMIT
