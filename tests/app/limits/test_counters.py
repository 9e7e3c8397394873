"""What is counted: never above, never leaked, whole or not at all. Time is passed in, so nothing waits."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from app.limits.counters import ASKS_FOR_SEED, GRANTED, REFUSED, SEED_WANTED, Actual, Ask, Counters

NOW = 1_700_000_000_000
HOLD = 30_000


def requests(most: int, *, window_ms: int = 60_000, key: str = "requests") -> Ask:
    return Ask(key, most, 1, window_ms)


def test_as_many_as_the_limit_pass_and_one_more_does_not() -> None:
    counters = Counters()
    answers = [counters.reserve(str(n), [requests(3)], NOW, HOLD).status for n in range(4)]
    assert answers == [GRANTED, GRANTED, GRANTED, REFUSED]


def test_when_told_to_come_back_there_is_room_and_not_a_millisecond_before() -> None:
    counters = Counters()
    counters.reserve("a", [requests(1)], NOW, HOLD)
    counters.settle("a", [Actual("requests", 1)], NOW)
    refused = counters.reserve("b", [requests(1)], NOW + 500, HOLD)
    then = NOW + 500 + refused.lines[0].reset_ms
    assert counters.reserve("b", [requests(1)], then - 1, HOLD).status == REFUSED
    assert counters.reserve("b", [requests(1)], then, HOLD).status == GRANTED


def test_a_refusal_by_one_limit_takes_nothing_from_the_others() -> None:
    counters = Counters()
    counters.reserve("a", [requests(1, key="tight")], NOW, HOLD)
    both = [requests(10, key="wide"), requests(1, key="tight")]
    refused = counters.reserve("b", both, NOW, HOLD)
    assert (refused.status, [line.is_over for line in refused.lines]) == (REFUSED, [False, True])
    assert counters.reserve("c", [requests(10, key="wide")], NOW, HOLD).lines[0].remaining == 9


def test_an_estimate_larger_than_the_whole_limit_does_not_shut_a_fresh_token_out() -> None:
    answer = Counters().reserve("a", [Ask("tokens", 100, 1024, 60_000)], NOW, HOLD)
    assert (answer.status, answer.lines[0].remaining) == (GRANTED, 0)


def test_a_limit_of_nothing_lets_nothing_pass_even_when_nothing_is_estimated() -> None:
    assert Counters().reserve("a", [Ask("cost", 0, 0)], NOW, HOLD).status == REFUSED


def test_a_shadow_counts_and_tells_and_refuses_nothing() -> None:
    counters = Counters()
    shadow = Ask("requests", 1, 1, 60_000, is_enforced=False)
    answers = [counters.reserve(str(n), [shadow], NOW, HOLD) for n in range(2)]
    assert [(answer.status, answer.lines[0].is_over) for answer in answers] == [(GRANTED, False), (GRANTED, True)]


def test_what_was_not_used_is_there_again_and_what_was_used_on_top_is_not() -> None:
    counters = Counters()
    counters.reserve("a", [Ask("tokens", 1000, 500)], NOW, HOLD)
    counters.settle("a", [Actual("tokens", 120)], NOW)
    assert counters.reserve("b", [Ask("tokens", 1000, 1)], NOW, HOLD).lines[0].remaining == 879
    counters.settle("b", [Actual("tokens", 300)], NOW)
    assert counters.reserve("c", [Ask("tokens", 1000, 1)], NOW, HOLD).lines[0].remaining == 579


def test_seats_of_a_worker_that_died_are_free_when_their_hold_ends_and_those_still_at_work_are_not() -> None:
    counters = Counters()
    seat = Ask("parallel", 1, 1)
    counters.reserve("dead", [seat], NOW, HOLD)
    assert counters.reserve("b", [seat], NOW + HOLD - 1, HOLD).status == REFUSED
    counters.extend([("dead", "parallel")], NOW + HOLD - 1, HOLD)
    assert counters.reserve("b", [seat], NOW + HOLD, HOLD).status == REFUSED
    assert counters.reserve("b", [seat], NOW + 2 * HOLD, HOLD).status == GRANTED


def test_what_is_settled_after_its_hold_was_given_back_is_charged_all_the_same_but_once() -> None:
    counters = Counters()
    counters.reserve("slow", [Ask("cost", 100, 10)], NOW, HOLD)
    counters.reserve("b", [Ask("cost", 100, 1)], NOW + HOLD, HOLD)
    counters.settle("slow", [Actual("cost", 40)], NOW + HOLD)
    counters.settle("slow", [Actual("cost", 40)], NOW + HOLD, is_again=True)
    assert counters.reserve("c", [Ask("cost", 100, 1)], NOW + HOLD, HOLD).lines[0].remaining == 58


def test_a_count_that_was_lost_asks_what_had_been_used_and_goes_on_from_there() -> None:
    counters = Counters()
    lost = Ask("cost", 100, 1, seed=ASKS_FOR_SEED)
    assert counters.reserve("a", [lost], NOW, HOLD).status == SEED_WANTED
    told = Ask("cost", 100, 1, seed=98)
    assert counters.reserve("a", [told], NOW, HOLD).lines[0].remaining == 1
    assert counters.reserve("b", [lost], NOW, HOLD).lines[0].remaining == 0


def test_a_clock_that_goes_back_opens_no_window_again() -> None:
    counters = Counters()
    counters.reserve("a", [requests(1)], NOW, HOLD)
    assert counters.reserve("b", [requests(1)], NOW - 3_600_000, HOLD).status == REFUSED


@given(
    most=st.integers(1, 20),
    window_ms=st.sampled_from([1000, 1001, 59_999, 60_000]),
    steps=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 8)), max_size=80),
)
def test_in_no_window_at_whatever_edge_more_passes_than_the_limit(
    most: int, window_ms: int, steps: list[tuple[int, int]]
) -> None:
    counters, passed, now = Counters(), list[tuple[int, int]](), NOW
    for number, (later, amount) in enumerate(steps):
        now += later
        ask = Ask("tokens", most, amount, window_ms)
        if counters.reserve(str(number), [ask], now, 10**9).status == GRANTED:
            passed.append((now, ask.taken))
    for begin, _ in passed:
        assert sum(taken for at, taken in passed if begin <= at < begin + window_ms) <= most


class CountersMachine(RuleBasedStateMachine):
    """A total and the seats of several clients, with deaths: what is counted is what was used and what is held."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.counters, self.now, self.number = Counters(), NOW, 0
        self.used, self.held = 0, dict[str, tuple[int, int]]()

    @initialize(most=st.integers(1, 50))
    def begins(self, most: int) -> None:
        self.most = most

    @rule(target=reservations, amount=st.integers(0, 60))
    def reserve(self, amount: int) -> str:
        self._sweep()
        self.number += 1
        rid, ask = str(self.number), Ask("total", self.most, amount)
        fits = self.used + sum(taken for taken, _ in self.held.values()) + ask.taken <= self.most
        assert (self.counters.reserve(rid, [ask], self.now, HOLD).status == GRANTED) == fits
        if fits:
            self.held[rid] = ask.taken, self.now + HOLD
        return rid

    @rule(rid=reservations, share=st.floats(0, 1))
    def settle_to_no_more_than_held(self, rid: str, share: float) -> None:
        if rid in self.held:
            used = int(self.held.pop(rid)[0] * share)
            self.used += used
            self.counters.settle(rid, [Actual("total", used)], self.now)

    @rule(rid=reservations)
    def extend(self, rid: str) -> None:
        self._sweep()
        self.counters.extend([(rid, "total")], self.now, HOLD)
        if rid in self.held:
            self.held[rid] = self.held[rid][0], self.now + HOLD

    @rule(later=st.integers(0, 2 * HOLD))
    def time_goes_by(self, later: int) -> None:
        self.now += later
        self._sweep()
        self.counters.reserve("sweeps", [Ask("total", self.most, 10**9)], self.now, 0)

    def _sweep(self) -> None:
        self.held = {rid: (taken, until) for rid, (taken, until) in self.held.items() if until > self.now}

    @invariant()
    def never_above(self) -> None:
        assert self.used + sum(taken for taken, _ in self.held.values()) <= getattr(self, "most", 0)

    @invariant()
    def survives_being_written_down(self) -> None:
        assert Counters.restored(self.counters.state()).state() == self.counters.state()


TestCounters = CountersMachine.TestCase
