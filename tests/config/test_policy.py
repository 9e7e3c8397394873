"""The policy document: what is right is read, what is wrong is told whole, with the place of each mistake."""

import re
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.policy import Limit, Policy, read_policy
from config.policy_text import PolicyText
from tests.support.source_tree import ROOT

SHARE = {"name": "fair share", "measure": "requests", "most": 600, "window": "1m", "per": ["token"]}
DIMENSIONS = ("project", "token", "end_user", "model", "provider", "endpoint")
_PLACE = re.compile(r"(limits|models)\b|.* - at `(key` in `)?\$|Object contains unknown field `|Expected `object`, got")

PATTERNS = st.lists(st.sampled_from(["gpt-*", "p-1", "o?", "*"]), min_size=1, max_size=2)
ONLY = st.dictionaries(st.sampled_from(DIMENSIONS), PATTERNS, max_size=2)
ANY_LIMIT = {
    "name": st.text("abcZ019_", min_size=1, max_size=1).flatmap(
        lambda first: st.text("abc 019.:/_-", max_size=63).map(lambda rest: first + rest)
    ),
    "per": st.lists(st.sampled_from(DIMENSIONS), unique=True, max_size=3),
    "only": ONLY,
    "time_zone": st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Chatham"]),
    "mode": st.sampled_from(["enforce", "shadow"]),
    "when_away": st.sampled_from(["share", "open", "closed"]),
}
WINDOWS = st.sampled_from(["1s", "90s", "1m30s", "24h", "day", "week", "month", "lifetime"])
COUNTED = st.fixed_dictionaries(
    {
        "measure": st.sampled_from(["requests", "tokens", "input_tokens", "output_tokens"]),
        "most": st.integers(0, 10**9),
        "window": WINDOWS,
        **ANY_LIMIT,
    }
)
COST = st.fixed_dictionaries({"measure": st.just("cost"), "most": st.floats(0.01, 1e9), "window": WINDOWS, **ANY_LIMIT})
PARALLEL = st.fixed_dictionaries({"measure": st.just("parallel"), "most": st.integers(0, 10**6), **ANY_LIMIT})
RULES = st.fixed_dictionaries(
    {"allow": PATTERNS},
    optional={"only": st.dictionaries(st.sampled_from(["project", "token", "end_user"]), PATTERNS)},
)
RIGHT = st.fixed_dictionaries(
    {},
    optional={
        "limits": st.lists(COUNTED | COST | PARALLEL, max_size=4, unique_by=lambda limit: str(limit["name"])),
        "models": st.lists(RULES, max_size=3),
        "unlisted_models": st.sampled_from(["allow", "deny"]),
        "assumed_output_tokens": st.integers(0, 10**6),
    },
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A right document of which one part is anything."""
    document = draw(RIGHT)
    holder: Any = document
    while True:
        keys = list(range(len(holder)) if isinstance(holder, list) else holder)
        key = draw(st.sampled_from(keys)) if keys else draw(st.text(max_size=5)) if isinstance(holder, dict) else None
        if key is None:
            holder.append(draw(JSON))
            return document
        inner = holder.get(key) if isinstance(holder, dict) else holder[key]
        if not isinstance(inner, dict | list) or draw(st.booleans()):
            holder[key] = draw(JSON)
            return document
        holder = inner


def mistakes_in(document: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_policy(document)
    return caught.value.mistakes


@given(RIGHT)
def test_a_right_document_is_read_and_means_the_same_when_written_out(document: dict[str, Any]) -> None:
    policy = read_policy(document)

    assert [limit.name for limit in policy.limits] == [limit["name"] for limit in document.get("limits", [])]
    assert read_policy(msgspec.to_builtins(policy)) == policy
    for limit in policy.limits:
        assert limit.units >= 0
        assert bool(limit.window_ms) == (not limit.is_total and limit.measure != "parallel")


@given(st.one_of(JSON, spoiled()))
def test_any_document_is_read_or_every_mistake_names_its_place(document: Any) -> None:
    try:
        policy = read_policy(document)
    except ConfigError as error:
        assert error.mistakes
        assert [line for line in error.mistakes if not _PLACE.match(line)] == []
    else:
        assert isinstance(policy, Policy)
        assert all(ZoneInfo(limit.time_zone) and limit.units >= 0 for limit in policy.limits)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, "a name is 1 to 64"),
        ({"name": 'a"b'}, "a name is 1 to 64"),
        ({"most": 1.5}, "most: 1.5 is no whole number"),
        ({"most": 2e9}, "most: 2e+09 is more than can be counted"),
        ({"per": ["token", "token"]}, "per names something twice"),
        ({"window": ""}, "none of 1s to 24h"),
        ({"window": "25h"}, "none of 1s to 24h"),
        ({"window": "500ms"}, "none of 1s to 24h"),
        ({"window": "year"}, "none of 1s to 24h"),
        ({"measure": "parallel"}, "window: parallel has none"),
        ({"time_zone": "Berlin"}, "time_zone: 'Berlin' is not known"),
        ({"time_zone": "../../etc/passwd"}, "is not known"),
        ({"measure": "water"}, "Invalid enum value 'water' - at `$.limits[0].measure`"),
        ({"most": -1}, "`$.limits[0].most`"),
        ({"most": "600"}, "`$.limits[0].most`"),
        ({"mots": 1}, "unknown field `mots` - at `$.limits[0]`"),
        ({"only": {"planet": ["mars"]}}, "'planet'"),
        ({"only": {"model": "gpt-4"}}, "`$.limits[0].only"),
    ],
)
def test_each_mistake_in_a_limit_is_told(change: dict[str, Any], told: str) -> None:
    [mistake] = mistakes_in({"limits": [{**SHARE, **change}]})

    assert told in mistake


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {
        "limits": [SHARE, {**SHARE, "most": 0.5, "window": "1x"}, {**SHARE, "name": "other", "time_zone": "Mars"}],
        "models": [{"allow": []}, {"allow": ["*"], "only": {"model": ["gpt-*"]}}],
    }

    places = [line.partition(":")[0].partition(" ")[0] for line in mistakes_in(wrong)]

    assert places == ["limits", "limits[1]", "limits[1]", "limits[2]", "models[0]", "models[1]"]


def test_no_more_than_200_limits() -> None:
    limits = [{**SHARE, "name": f"limit {n}"} for n in range(201)]

    assert mistakes_in({"limits": limits}) == ["limits: 201 are too many; 200 at most"]
    assert len(read_policy({"limits": limits[:200]}).limits) == 200


def test_money_is_counted_in_micro_dollars_and_windows_in_milliseconds() -> None:
    budget = Limit(name="b", measure="cost", most=0.1, window="month")
    share = Limit(name="s", measure="requests", most=60, window="1m30s")

    assert (budget.units, budget.window_ms, budget.is_total) == (100_000, 0, True)
    assert (share.units, share.window_ms, share.is_total) == (60, 90_000, False)


@pytest.mark.parametrize("file", ["README.md", "config/policy.py"])
def test_the_documents_that_we_show_are_right(file: str) -> None:
    [shown] = re.findall(r"^limits:\n(?:.*\n)*?unlisted_models:.*\n", (ROOT / file).read_text(), re.MULTILINE)

    assert len(read_policy(PolicyText(file, shown).document).limits) >= 2


def test_an_empty_document_limits_nothing() -> None:
    assert read_policy({}) == Policy(limits=(), models=(), unlisted_models="allow", assumed_output_tokens=512)
