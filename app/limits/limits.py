"""Limits: asks for a call's amounts before it goes on, and settles them when it has ended.

Counted where all workers count; while that is away, each worker keeps to its share: the limit divided by the workers
that were alive, of a budget only what was left of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from app.errors import BudgetExceeded, QuotaExceeded, RateLimitExceeded, Refusal, StoreAway
from app.limits.amounts import Estimate, actual
from app.limits.applying import Applied, Call, Rules
from app.limits.counters import ASKS_FOR_SEED, REFUSED, SEED_WANTED, Actual, Answer, Ask, Counters
from app.limits.headers import Headers, Standing, limit_headers
from app.limits.periods import LIFETIME, Period
from app.limits.resp import CountsAway
from app.limits.shared import SharedCounts
from app.metrics import Metrics
from bus.event import ExchangeFinished
from config.clock import Clock
from config.policy import Policy
from config.provider import Dialect

logger = logging.getLogger(__name__)

_DAY_MS: Final = 86_400_000
_LEFT_KEPT: Final = 10_000
_SEED_S: Final = 2.0

Spent = Callable[[Applied, Call, Period], Awaitable[int | None]]
"""What was used in a period by what the records tell; None where they cannot."""


class Taking(Struct, frozen=True, gc=False):
    """One limit's part of a reservation."""

    applied: Applied
    period: Period | None
    ask: Ask


class Reservation:
    """What a call holds, until it is settled."""

    __slots__ = ("_limits", "headers", "is_shared", "rid", "since_ns", "takings")

    def __init__(
        self, limits: "Limits", rid: str, takings: Sequence[Taking], headers: Headers, *, is_shared: bool
    ) -> None:
        self._limits, self.rid, self.takings, self.is_shared = limits, rid, takings, is_shared
        self.headers = headers
        """For the reply."""
        self.since_ns = limits.monotonic_ns()

    def settle(self, event: ExchangeFinished | None) -> None:
        """To what the exchange really used; without an event, to what is held."""
        actuals = [
            Actual(taking.ask.key, actual(taking.applied.limit.measure, event, taking.ask.taken))
            for taking in self.takings
        ]
        self._limits.settle(self, actuals)


class Limits:
    def __init__(
        self,
        shared: SharedCounts,
        metrics: Metrics,
        clock: Clock,
        *,
        hold_ms: int,
        spent: Spent | None = None,
        secret: bytes = b"",
    ) -> None:
        self._shared, self._metrics, self._clock = shared, metrics, clock
        self._hold_ms, self._spent, self._secret = hold_ms, spent, secret
        self._local = Counters()
        self._held: dict[str, Reservation] = {}
        self._left: dict[str, int] = {}
        """What was left of the totals when last asked: what there is to share while nobody can be asked."""
        self._seeds: dict[str, asyncio.Future[int]] = {}
        """Sums that are being read just now."""
        self._rules: Rules | None = None

    @property
    def rules(self) -> Rules:
        """Raises StoreAway until the policy has been read: without it everything would pass."""
        if self._rules is None:
            raise StoreAway("The policy cannot be read yet; try again soon.")
        return self._rules

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()

    @property
    def is_away(self) -> bool:
        return self._rules is not None and self._rules.limits_calls and self._shared.is_away

    def follow(self, policy: Policy) -> None:
        self._rules = Rules(policy, secret=self._secret)

    async def reserve(self, rid: str, call: Call, estimate: Estimate, dialect: Dialect) -> Reservation | None:
        """None where no limit applies. Raises RateLimitExceeded, BudgetExceeded, QuotaExceeded, StoreAway."""
        applied = self.rules.applied(call)
        if not applied:
            return None
        now_ms = self.now_ms()
        takings = [self._taking(one, estimate, now_ms) for one in applied]
        try:
            answer, is_shared = await self._ask_shared(rid, call, takings), True
        except CountsAway:
            takings = self._shares(takings)
            answer, is_shared = self._local.reserve(rid, _asks(takings), now_ms, self._hold_ms), False
            self._metrics.count("llm_proxy_limits_share_total")
        return self._held_or_refused(rid, takings, answer, dialect, is_shared=is_shared)

    def settle(self, held: Reservation, actuals: list[Actual]) -> None:
        self._held.pop(held.rid, None)
        if held.is_shared:
            self._shared.settle(held.rid, actuals)
            return
        self._local.settle(held.rid, actuals, self.now_ms())
        totals = {taking.ask.key for taking in held.takings if taking.period}
        told = [actual for actual in actuals if actual.amount and actual.key in totals]
        if told:  # a budget's period must not begin anew when it is counted together again
            self._shared.settle(held.rid, told)

    async def keep_up(self) -> None:
        """Runs for the life of the worker: what is still at work stays held."""
        while True:
            await asyncio.sleep(self._hold_ms / 3000)
            await self._extend()

    async def _extend(self) -> None:
        now_ms, old_ns = self.now_ms(), self._clock.monotonic_ns() - self._hold_ms * 250_000
        old = [held for held in self._held.values() if held.since_ns <= old_ns]
        pairs = [(held.rid, taking.ask.key) for held in old if held.is_shared for taking in held.takings]
        await self._shared.extend(pairs)
        local = [(held.rid, taking.ask.key) for held in old if not held.is_shared for taking in held.takings]
        self._local.extend(local, now_ms, self._hold_ms)
        self._local.forget_old(now_ms)

    async def _ask_shared(self, rid: str, call: Call, takings: list[Taking]) -> Answer:
        answer = await self._shared.reserve(rid, _asks(takings))
        if answer.status == SEED_WANTED:
            for at, line in enumerate(answer.lines):
                if line.is_over:
                    takings[at] = await self._seeded(call, takings[at])
            answer = await self._shared.reserve(rid, _asks(takings))
            if answer.status == SEED_WANTED:
                raise CountsAway("a count is lost again and again")
        for taking, line in zip(takings, answer.lines, strict=True):
            if taking.period is not None:
                if len(self._left) >= _LEFT_KEPT:
                    self._left.clear()
                self._left[taking.ask.key] = line.remaining
        return answer

    async def _seeded(self, call: Call, taking: Taking) -> Taking:
        """Calls that come together ask the records once."""
        key, period = taking.ask.key, taking.period
        reading = self._seeds.get(key)
        if reading is None and self._spent is not None and period is not None:
            reading = self._seeds[key] = asyncio.get_running_loop().create_future()
            reading.add_done_callback(lambda _: self._seeds.pop(key, None))
            await self._read_seed(reading, self._spent(taking.applied, call, period))
        used = await asyncio.shield(reading) if reading else 0
        return replace(taking, ask=replace(taking.ask, seed=used))

    async def _read_seed(self, reading: "asyncio.Future[int]", spent: Awaitable[int | None]) -> None:
        try:
            async with asyncio.timeout(_SEED_S):
                reading.set_result(await spent or 0)
        except BaseException as error:
            reading.set_exception(CountsAway(f"what was used cannot be read: {type(error).__name__}"))
            reading.exception()  # it may be nobody who waits
            if not isinstance(error, CountsAway | TimeoutError):
                raise

    def _taking(self, applied: Applied, estimate: Estimate, now_ms: int) -> Taking:
        limit, period = applied.limit, applied.period(now_ms)
        key, keep_ms, seed = applied.key, 2 * applied.window_ms + self._hold_ms, -1
        if period is not None:
            key = f"{key}|{period.name}"
            keep_ms = (period.ends_ms - now_ms) // _DAY_MS * _DAY_MS + 2 * _DAY_MS if period.ends_ms else 0
            seed = ASKS_FOR_SEED if self._spent else -1
        ask = Ask(
            key, applied.units, estimate.of(limit.measure), applied.window_ms, limit.mode == "enforce", keep_ms, seed
        )
        return Taking(applied, period, ask)

    def _shares(self, takings: Sequence[Taking]) -> list[Taking]:
        """Raises StoreAway where a limit is to be exact or nothing."""
        kept = []
        for taking in takings:
            when_away = taking.applied.limit.when_away
            if when_away == "closed" and taking.ask.is_enforced:
                raise StoreAway(f"The limit '{taking.applied.limit.name}' cannot be counted right now; try again soon.")
            if when_away == "share":
                there_is = self._left.get(taking.ask.key, taking.ask.most) if taking.period else taking.ask.most
                share = max(1, there_is // self._shared.workers) if there_is else 0
                kept.append(replace(taking, ask=replace(taking.ask, most=share, seed=-1)))
        return kept

    def _held_or_refused(
        self, rid: str, takings: Sequence[Taking], answer: Answer, dialect: Dialect, *, is_shared: bool
    ) -> Reservation:
        now_ms = self.now_ms()
        said = [(taking, line) for taking, line in zip(takings, answer.lines, strict=True) if taking.ask.is_enforced]
        standings = [
            Standing(
                taking.applied.limit,
                taking.applied.window_ms,
                taking.ask.most,
                line.remaining,
                _reset_s(taking, line.reset_ms, now_ms),
            )
            for taking, line in said
        ]
        headers = limit_headers(standings, dialect, now_ms)
        if not is_shared:
            headers.append((b"x-llm-proxy-limits", b"share"))
        for taking, line in zip(takings, answer.lines, strict=True):
            if line.is_over:
                self._count_met(taking.applied.limit.name, is_enforced=taking.ask.is_enforced)
        if answer.status == REFUSED:
            over = [standing for standing, (_, line) in zip(standings, said, strict=True) if line.is_over]
            raise _refusal(max(over, key=lambda standing: standing.reset_s), tuple(headers))
        held = self._held[rid] = Reservation(self, rid, takings, headers, is_shared=is_shared)
        return held

    def _count_met(self, name: str, *, is_enforced: bool) -> None:
        mode = "enforce" if is_enforced else "shadow"
        self._metrics.count(f'llm_proxy_limits_met_total{{limit="{name}",mode="{mode}"}}')


def _asks(takings: Sequence[Taking]) -> list[Ask]:
    return [taking.ask for taking in takings]


def _reset_s(taking: Taking, reset_ms: int, now_ms: int) -> int:
    if taking.period is not None:
        return -(-(taking.period.ends_ms - now_ms) // 1000) if taking.period.ends_ms else 0
    return -(-reset_ms // 1000) if reset_ms > 0 else 1


def _refusal(standing: Standing, headers: tuple[tuple[bytes, bytes], ...]) -> Refusal:
    limit = standing.limit
    told = f"The limit '{limit.name}' ({_described(standing)}) is reached"
    if limit.window == LIFETIME:
        return QuotaExceeded(f"{told}; ask for more.", headers=headers)
    kind = BudgetExceeded if limit.measure == "cost" else RateLimitExceeded
    return kind(f"{told}; try again in {standing.reset_s} s.", headers=headers, after_s=standing.reset_s)


def _described(standing: Standing) -> str:
    limit = standing.limit
    most = f"{standing.most / 1e6:g} USD" if limit.measure == "cost" else f"{standing.most} {limit.measure}"
    what = "at once" if limit.measure == "parallel" else "in all" if limit.window == LIFETIME else f"per {limit.window}"
    return f"{most} {what}" + (f" for each {' and '.join(limit.per)}" if limit.per else "")
