"""So many tries a minute, evenly refilled, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from admin.api.allowance import Allowance
from tests.admin.acts.acting import StillClock


def test_the_tries_of_a_minute_can_be_used_at_once_and_no_more() -> None:
    allowance = Allowance(10, StillClock())

    waits = [allowance.take("a") for _ in range(11)]

    assert waits == [0] * 10 + [6]


def test_waiting_as_long_as_told_is_enough() -> None:
    clock = StillClock()
    allowance = Allowance(10, clock)
    for _ in range(10):
        allowance.take("a")

    clock.pass_ms(allowance.take("a") * 1000)

    assert allowance.take("a") == 0


def test_addresses_do_not_share_their_tries() -> None:
    allowance = Allowance(1, StillClock())
    allowance.take("a")

    assert allowance.take("b") == 0


def test_zero_is_no_limit() -> None:
    allowance = Allowance(0, StillClock())

    assert not any(allowance.take("a") for _ in range(1000))


def test_it_remembers_no_more_addresses_than_it_may() -> None:
    allowance = Allowance(1, StillClock(), max_keys=3)
    for name in ("a", "b", "c", "d"):
        allowance.take(name)

    assert allowance.take("d") > 0
    assert allowance.take("a") == 0


@given(per_minute=st.integers(1, 1000), gaps_ms=st.lists(st.integers(0, 5000), max_size=200))
def test_no_minute_gets_more_than_a_full_bucket_and_what_was_refilled(per_minute: int, gaps_ms: list[int]) -> None:
    clock = StillClock()
    allowance = Allowance(per_minute, clock)
    taken = 0
    for gap_ms in gaps_ms:
        clock.pass_ms(gap_ms)
        taken += allowance.take("a") == 0

    assert taken <= per_minute + sum(gaps_ms) * per_minute / 60_000 + 1e-6
