"""The Lua scripts and the Python counters are twins: the same commands at the same times get the same answers."""

from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import app.limits
from app.limits.counters import ASKS_FOR_SEED, NOT_SEEDED, Actual, Ask, Counters

LUA = Path(app.limits.__path__[0]) / "lua"
NOW = 1_700_000_000_000
KEYS = ("requests", "tokens", "cost", "parallel")
WINDOWS = {"requests": 1000, "tokens": 60_000, "cost": 0, "parallel": 0}

amounts = st.integers(0, 12)
seeds = st.sampled_from([NOT_SEEDED, ASKS_FOR_SEED, 7])
actuals_used = st.lists(st.tuples(st.sampled_from(KEYS), amounts), min_size=1, max_size=4)
asks = st.lists(
    st.tuples(st.sampled_from(KEYS), st.integers(0, 30), amounts, st.booleans(), seeds),
    min_size=1, max_size=4, unique_by=lambda ask: ask[0],
)  # fmt: skip
rids = st.integers(1, 9).map(str)
steps = st.one_of(
    st.tuples(st.just("reserve"), asks),
    st.tuples(st.just("settle"), rids, actuals_used, st.booleans()),
    st.tuples(st.just("extend"), rids, st.sampled_from(KEYS)),
)  # fmt: skip


class Scripts:
    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._scripts = {path.stem: self._redis.register_script(path.read_text()) for path in LUA.glob("*.lua")}

    def run(self, name: str, keys: list[str], *words: Any) -> Any:
        return self._scripts[name](keys=[part for key in keys for part in (key, key + ":h")], args=list(words))

    def forget(self) -> None:
        self._redis.flushall()


@pytest.fixture
def scripts(redis_url: str) -> Scripts:
    return Scripts(redis_url)


UNUSED_AND_GIVEN_BACK = [
    (0, 0, ("reserve", [("requests", 0, 0, False, -1), ("cost", 0, 0, False, -1)])),
    (0, 0, ("reserve", [("tokens", 0, 0, True, -1), ("cost", 0, 0, False, -1)])),
    (0, 0, ("settle", "1", [("cost", 0)], False)),
    (0, 0, ("reserve", [("requests", 0, 0, False, -1), ("cost", 0, 0, False, -2)])),
]
"""The last one asks for a seed in both, or in none."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@example(story=UNUSED_AND_GIVEN_BACK)
@given(story=st.lists(st.tuples(st.integers(-500, 20_000), st.integers(0, 20_000), steps), max_size=25))
def test_both_say_the_same(scripts: Scripts, story: list[tuple[int, int, Any]]) -> None:
    scripts.forget()
    counters, now, count = Counters(), NOW, 0
    for later, hold_ms, step in story:
        now += later
        if step[0] == "reserve":
            count += 1
            wanted = [
                Ask(key, most, amount, WINDOWS[key], enforced, 0, seed) for key, most, amount, enforced, seed in step[1]
            ]
            words = [
                word for ask in wanted
                for word in (ask.most, ask.taken, ask.window_ms, int(ask.is_enforced), ask.keep_ms, ask.seed)
            ]  # fmt: skip
            said = scripts.run("reserve", [ask.key for ask in wanted], now, str(count), hold_ms, *words)
            answer = counters.reserve(str(count), wanted, now, hold_ms)
            assert said == [answer.status, *([li.remaining, li.reset_ms, int(li.is_over)] for li in answer.lines)]
        elif step[0] == "settle":
            _, rid, used, is_again = step
            actuals = list(dict(used).items())
            scripts.run("settle", [key for key, _ in actuals], rid, int(is_again), *(amount for _, amount in actuals))
            counters.settle(rid, [Actual(key, amount) for key, amount in actuals], now, is_again=is_again)
        else:
            scripts.run("extend", [step[2]], now, hold_ms, step[1])
            counters.extend([(step[1], step[2])], now, hold_ms)
