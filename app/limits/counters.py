"""What is counted, as a pure state machine: time goes in, answers come out. The scripts in `lua/` are its twins.

A reservation takes its amounts from all its counts or from none. It is settled to what was really used, and until then
held; a hold that nobody extends in time is given back. A sliding window is 61 buckets of a sixtieth: the bucket that
is half out of the window still counts whole, so never more than the limit passes in any window, at any edge.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

from msgspec import Struct

PARTS: Final = 60  # of a window; the last begun one counts too
SWEPT_AT_ONCE: Final = 128
NOT_SEEDED: Final = -1  # a count that begins at nothing
ASKS_FOR_SEED: Final = -2  # one whose past somebody else knows: say so when it is missing
GRANTED: Final = 0
REFUSED: Final = 1
SEED_WANTED: Final = 2


class Ask(Struct, frozen=True, gc=False):
    """For `amount` units of one count, which holds `most`."""

    key: str
    most: int
    amount: int
    window_ms: int = 0
    """0: nothing leaves the count by itself."""
    is_enforced: bool = True
    keep_ms: int = 0
    """How long a count outlives its last use; 0: for ever."""
    seed: int = NOT_SEEDED

    @property
    def taken(self) -> int:
        """Never more than the whole limit: a large estimate must not shut a fresh token out. Never nothing."""
        return max(1, min(self.amount, self.most))


class Line(Struct, frozen=True, gc=False, array_like=True):
    """One ask's answer."""

    remaining: int
    reset_ms: int
    """Until a sliding window has let everything go; when over, until there is room. -1: time does not heal it."""
    is_over: bool


class Answer(Struct, frozen=True, gc=False, array_like=True):
    status: int
    """GRANTED, REFUSED (an enforced one was over: nothing is taken) or SEED_WANTED (nothing is taken)."""
    lines: tuple[Line, ...]
    """One for each ask. When a seed is wanted, `is_over` marks the counts that want one."""


class Actual(Struct, frozen=True, gc=False):
    """What was really used of a count."""

    key: str
    amount: int


class _Count:
    __slots__ = ("buckets", "holds", "sum", "top", "until_ms", "window_ms")

    def __init__(self, window_ms: int, seed: int) -> None:
        self.window_ms = window_ms
        self.sum = max(0, seed)
        self.buckets: dict[int, int] = {}
        self.top = 0
        """The bucket that is being filled; a clock that goes back does not go back to an older one."""
        self.holds: dict[str, tuple[int, int, int]] = {}
        """Reservation to amount, bucket and until when it is held."""
        self.until_ms = 0

    @classmethod
    def restored(cls, window_ms: int, counted: int, top: int, until_ms: int, *parts: dict[Any, Any]) -> "_Count":
        count = cls(window_ms, 0)
        count.sum, count.top, count.until_ms = counted, top, until_ms
        count.buckets, held = parts
        count.holds = {rid: (amount, bucket, until) for rid, (amount, bucket, until) in held.items()}
        return count

    def state(self) -> tuple[Any, ...]:
        return self.window_ms, self.sum, self.top, self.until_ms, self.buckets, self.holds

    def roll(self, now_ms: int) -> None:
        """Forgets what has left the window, and gives back what nobody holds on to."""
        if self.window_ms:
            self.top = max(self.top, now_ms // width_ms(self.window_ms))
            for number in [number for number in self.buckets if number < self.top - PARTS]:
                self.sum -= self.buckets.pop(number)
        late = sorted((until, rid) for rid, (_, _, until) in self.holds.items() if until <= now_ms)
        for _, rid in late[:SWEPT_AT_ONCE]:
            amount, bucket, _ = self.holds.pop(rid)
            if self._is_counted(bucket):
                self.add(bucket, -amount)

    def add(self, bucket: int, amount: int) -> None:
        self.sum += amount
        if self.window_ms:
            self.buckets[bucket] = self.buckets.get(bucket, 0) + amount

    def settle(self, rid: str, actual: int, *, is_again: bool) -> None:
        held = self.holds.pop(rid, None)
        if held is None:
            if not is_again:  # it was given back meanwhile, but it has been used
                self.add(self.top, actual)
            return
        amount, bucket, _ = held
        if self._is_counted(bucket):
            self.add(bucket, actual - amount)
        elif actual > amount:  # the window has left its beginning behind: what came on top counts now
            self.add(self.top, actual - amount)

    def line(self, ask: Ask, now_ms: int, *, is_over: bool) -> Line:
        heals = self._heals_in(self.sum + ask.taken - ask.most, now_ms) if is_over else full_reset_ms(self.window_ms)
        return Line(max(0, ask.most - self.sum), heals, is_over)

    def _heals_in(self, amount: int, now_ms: int) -> int:
        if not self.window_ms:
            return -1
        for number in sorted(self.buckets):
            amount -= self.buckets[number]
            if amount <= 0:
                return max(0, (number + PARTS + 1) * width_ms(self.window_ms) - now_ms)
        return full_reset_ms(self.window_ms)

    def _is_counted(self, bucket: int) -> bool:
        return not self.window_ms or bucket >= self.top - PARTS


def width_ms(window_ms: int) -> int:
    """Of a bucket."""
    return -(-window_ms // PARTS)


def full_reset_ms(window_ms: int) -> int:
    """Until all that is counted now has left a sliding window."""
    return (PARTS + 1) * width_ms(window_ms) if window_ms else -1


class Counters:
    """All counts of one owner. `now_ms` never decides on its own: whoever calls passes it, so that a journal can tell
    the same story again."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """From what `state` gave, by way of MessagePack."""
        counters = cls()
        counters._counts = {key: _Count.restored(*told) for key, told in state.items()}
        return counters

    def state(self) -> dict[str, Any]:
        return {key: count.state() for key, count in self._counts.items()}

    def reserve(self, rid: str, asks: Sequence[Ask], now_ms: int, hold_ms: int) -> Answer:
        known = [self._known(ask.key, now_ms) for ask in asks]
        wants = [ask.seed == ASKS_FOR_SEED and count is None for ask, count in zip(asks, known, strict=True)]
        if any(wants):
            return Answer(SEED_WANTED, tuple(Line(ask.most, -1, it) for ask, it in zip(asks, wants, strict=True)))
        pairs = [(ask, count or _Count(ask.window_ms, ask.seed)) for ask, count in zip(asks, known, strict=True)]
        for _, count in pairs:
            count.roll(now_ms)
        over = [count.sum + ask.taken > ask.most for ask, count in pairs]
        is_refused = any(ask.is_enforced and too_much for ask, too_much in zip(asks, over, strict=True))
        if not is_refused:
            for ask, count in pairs:
                self._take(rid, ask, count, now_ms, hold_ms)
        lines = [count.line(ask, now_ms, is_over=it) for (ask, count), it in zip(pairs, over, strict=True)]
        return Answer(REFUSED if is_refused else GRANTED, tuple(lines))

    def settle(self, rid: str, actuals: Iterable[Actual], now_ms: int, *, is_again: bool = False) -> None:
        """Charges what was used. `is_again`: the same was sent before, and nobody knows whether it arrived."""
        for actual in actuals:
            count = self._known(actual.key, now_ms)
            if count is not None:
                count.settle(rid, actual.amount, is_again=is_again)
                if not count.window_ms and not count.sum and not count.holds:
                    del self._counts[actual.key]  # clients choose names: what holds nothing takes no room

    def extend(self, held: Iterable[tuple[str, str]], now_ms: int, hold_ms: int) -> None:
        """Pairs of reservation and key that are still at work."""
        for rid, key in held:
            count = self._known(key, now_ms)
            if count is not None and rid in count.holds:
                amount, bucket, _ = count.holds[rid]
                count.holds[rid] = amount, bucket, now_ms + hold_ms
                if count.until_ms:
                    count.until_ms = max(count.until_ms, now_ms + 2 * hold_ms)

    def forget_old(self, now_ms: int) -> None:
        """Counts that nobody has used for as long as they are kept."""
        for key in [key for key in self._counts if self._known(key, now_ms) is None]:
            del self._counts[key]

    def _known(self, key: str, now_ms: int) -> _Count | None:
        count = self._counts.get(key)
        return None if count is None or 0 < count.until_ms <= now_ms else count

    def _take(self, rid: str, ask: Ask, count: _Count, now_ms: int, hold_ms: int) -> None:
        self._counts[ask.key] = count
        count.add(count.top, ask.taken)
        count.holds[rid] = ask.taken, count.top, now_ms + hold_ms
        if ask.keep_ms:
            count.until_ms = now_ms + max(ask.keep_ms, 2 * hold_ms)
