"""The settle decision over all outcomes: an outage never buries, a named time is kept, the backoff is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.backends.base import Ok, Permanent, Retry, Unknown
from dispatcher.settle import CRASH_LIMIT, Ack, Backoff, Bury, RetryIn, is_crash_loop, settle

BACKOFF = Backoff(first_ms=500, longest_ms=60_000)
jitters = st.floats(0, 1, exclude_max=True)
deliveries = st.integers(1, 10**9)


@given(deliveries, jitters)
def test_what_was_taken_is_acknowledged(tries: int, jitter: float) -> None:
    assert settle(Ok(), tries, BACKOFF, jitter) == Ack()


@given(st.sampled_from([Retry("away"), Unknown("cut")]), deliveries, jitters)
def test_an_outage_of_any_length_never_buries(outcome: Retry | Unknown, tries: int, jitter: float) -> None:
    decided = settle(outcome, tries, BACKOFF, jitter)

    assert isinstance(decided, RetryIn)
    assert 0 < decided.delay_ms <= 60_000


@given(st.integers(-5, 10**12), deliveries, jitters)
def test_a_named_time_is_kept_within_a_tenth_and_ten_minutes(after_ms: int, tries: int, jitter: float) -> None:
    decided = settle(Retry("busy", after_ms), tries, BACKOFF, jitter)

    asked = min(max(after_ms, 0), 600_000)
    assert isinstance(decided, RetryIn)
    assert asked <= decided.delay_ms <= asked * 1.1


@given(deliveries, jitters, st.text(max_size=2000))
def test_a_refusal_is_buried_with_its_reason(tries: int, jitter: float, reason: str) -> None:
    assert settle(Permanent(reason), tries, BACKOFF, jitter) == Bury("permanent", reason[:512])


def test_the_backoff_doubles_up_to_its_bound() -> None:
    most = [BACKOFF.delay_ms(tries, 0.999999) for tries in (1, 2, 3, 8, 100)]

    assert most == [500, 1000, 2000, 60_000, 60_000]


@given(deliveries)
def test_jitter_spreads_over_the_whole_step(tries: int) -> None:
    assert BACKOFF.delay_ms(tries, 0.0) == 1


def test_crashes_are_a_loop_from_the_sixth_on() -> None:
    assert [is_crash_loop(crashes) for crashes in (0, CRASH_LIMIT - 1, CRASH_LIMIT)] == [False, False, True]
