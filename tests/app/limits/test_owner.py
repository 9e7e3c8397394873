"""The owner of the counts: what it has answered, it still knows after any death; what came half, it never answered."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.limits.journal import Journal
from app.limits.owner import Owner
from tests.bench.bench_limits import MOST, exactness, running_owner

NOW = 1_700_000_000_000
KEYS = ("requests", "cost")


def reserve(rid: str, key: str, amount: int = 1, most: int = 50, window_ms: int = 60_000) -> list[bytes]:
    numbers = (most, amount, window_ms, 1, 0, -1)
    return [b"reserve", b"2", key.encode(), b"h", b"0", rid.encode(), b"30000", *(b"%d" % n for n in numbers)]


def settle(rid: str, key: str, amount: int) -> list[bytes]:
    return [b"settle", b"2", key.encode(), b"h", rid.encode(), b"0", b"%d" % amount]


rids = st.integers(0, 8).map(str)
keys = st.sampled_from(KEYS)
amounts = st.integers(0, 40)
commands = st.one_of(
    st.builds(reserve, rids, keys, amounts),
    st.builds(settle, rids, keys, amounts),
    st.builds(lambda rid, key: [b"extend", b"2", key.encode(), b"h", b"0", b"30000", rid.encode()], rids, keys),
)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


def state_of(owner: Owner) -> Any:
    return deepcopy(owner._counters.state())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.tuples(st.integers(0, 40_000), st.lists(commands, max_size=4)), max_size=12),
    torn=st.integers(1, 200),
)
def test_all_that_was_answered_is_known_after_a_death_and_half_a_note_is_nothing(
    tmp_path: Path, batches: list[tuple[int, list[list[bytes]]]], torn: int
) -> None:
    path, clock = tmp_path / "counts", Clock()
    path.unlink(missing_ok=True)
    owner = Owner(Journal(path), clock)
    for later, several in batches:
        clock.now_ms += later
        owner.answer(several)
    known, size = state_of(owner), path.stat().st_size
    owner.answer([reserve("last", "requests", 1, 10**6)])
    whole = path.read_bytes()
    path.write_bytes(whole[: max(size, len(whole) - torn)])
    again = Owner(Journal(path), clock)
    assert state_of(again) == known
    again.close()
    owner.close()


def test_a_journal_that_has_become_long_is_begun_anew_and_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    owner = Owner(Journal(path), Clock())
    before = path.stat().st_size
    for number in range(300):
        owner.answer([reserve(str(number), "requests", 1, 10**6), settle(str(number), "requests", 1)])
    long = path.stat().st_size
    owner._begin_journal()
    assert before < path.stat().st_size < long / 10
    assert state_of(Owner(Journal(path), Clock())) == state_of(owner)


def test_a_disk_that_is_full_for_a_moment_loses_nothing_that_is_noted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "counts"
    owner = Owner(Journal(path), Clock())
    owner.answer([reserve("a", "cost", 5, window_ms=0)])
    write = os.write

    def half_a_write(file: int, content: memoryview) -> int:
        write(file, content[:7])
        raise OSError(28, "no room")

    monkeypatch.setattr(os, "write", half_a_write)
    with pytest.raises(OSError, match="no room"):
        owner.answer([reserve("b", "cost", 6, window_ms=0)])
    monkeypatch.undo()
    owner.answer([reserve("c", "cost", 7, window_ms=0)])
    answer = Owner(Journal(path), Clock()).answer([reserve("d", "cost", 1, window_ms=0)])
    assert answer[0][1][0] == 50 - 5 - 7 - 1


def test_zeros_behind_the_journal_are_its_end(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    owner = Owner(Journal(path), Clock())
    owner.answer([reserve("a", "requests")])
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert state_of(Owner(Journal(path), Clock())) == state_of(owner)


def test_time_goes_on_where_the_clock_was_ahead_once(tmp_path: Path) -> None:
    clock, monotonic = Clock(), Clock()
    owner = Owner(Journal(tmp_path / "counts"), clock, monotonic)
    clock.now_ms += 86_400_000
    owner.answer([reserve("a", "requests", 1, 1)])
    clock.now_ms -= 86_400_000
    assert owner.answer([reserve("b", "requests", 1, 1)])[0][0] == 1
    monotonic.now_ms += 61_000
    assert owner.answer([reserve("b", "requests", 1, 1)])[0][0] == 0


def test_a_clock_that_steps_back_over_a_restart_opens_no_window(tmp_path: Path) -> None:
    clock = Clock()
    owner = Owner(Journal(tmp_path / "counts"), clock)
    owner.answer([reserve("a", "requests", 1, 1)])
    clock.now_ms -= 3_600_000
    again = Owner(Journal(tmp_path / "counts"), clock)
    assert again.answer([reserve("b", "requests", 1, 1)])[0][0] == 1


@pytest.mark.parametrize("words", [[b"reserve"], [b"flush", b"0"], [b"reserve", b"2", b"k", b"h", b"0", b"r"]])
def test_what_is_no_command_is_refused(tmp_path: Path, words: list[bytes]) -> None:
    owner = Owner(Journal(tmp_path / "counts"), Clock())
    with pytest.raises((ValueError, IndexError)):
        owner.answer([words])


@pytest.mark.slow
def test_processes_that_race_at_the_owner_pass_exactly_the_limit() -> None:
    with running_owner() as address:
        assert exactness(address, 4000) == MOST


@pytest.mark.slow
def test_processes_that_race_at_redis_pass_exactly_the_limit(redis_url: str) -> None:
    assert exactness(redis_url, 4000) == MOST
