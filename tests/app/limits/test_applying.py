"""Which limits apply to which call, when a period begins and ends, and what a call takes of its limits."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.limits.amounts import Estimate, actual, input_tokens
from app.limits.applying import Call, Rules
from app.limits.periods import period_of
from bus.event import ExchangeFinished, Usage
from config.policy import read_policy

CALL = Call("p-1", "search", "t-1", "ann", "gpt-4o", "openai", "/v1/chat/completions")
REQUESTS = {"name": "a", "measure": "requests", "most": 1, "window": "1m"}


def rules(*limits: dict[str, object], secret: bytes = b"") -> Rules:
    return Rules(read_policy({"limits": limits}), secret=secret)


def ended(**more: object) -> ExchangeFinished:
    known = {"event_id": "e", "request_id": "r", "accepted_at_ms": 0, "method": "POST", "path": "/", "status": 200}
    return ExchangeFinished(**{**known, "upstream_head_us": 5, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("only", "applies"),
    [
        ({}, True),
        ({"project": ["p-1"]}, True),
        ({"project": ["sea*"]}, True),
        ({"project": ["another"]}, False),
        ({"model": ["gpt-4*"], "provider": ["openai"]}, True),
        ({"model": ["gpt-4*"], "provider": ["azure"]}, False),
        ({"endpoint": ["/v1/chat*"], "end_user": ["ann", "ben"], "token": ["t-1"]}, True),
    ],
)
def test_a_limit_applies_to_the_calls_that_all_of_its_patterns_name(only: dict[str, list[str]], applies: bool) -> None:
    assert bool(rules({**REQUESTS, "only": only}).applied(CALL)) == applies


def test_limits_are_counted_apart_for_each_value_and_only_for_those() -> None:
    per_token = rules({**REQUESTS, "per": ["token", "model"]})
    keys = {per_token.applied(call)[0].key for call in (CALL, Call(token="t-2", model="gpt-4o"), Call(token="t-2"))}
    assert len(keys) == 3
    together = rules(REQUESTS)
    assert together.applied(CALL)[0].key == together.applied(Call())[0].key


@given(st.text(), st.text())
def test_no_two_names_share_a_count_whatever_is_in_them(one: str, other: str) -> None:
    by_user = rules({**REQUESTS, "per": ["end_user", "model"]})
    calls = (Call(end_user=one, model=other), Call(end_user=other, model=one), Call(end_user=f"{one}/{other}"))
    keys = [by_user.applied(call)[0].key for call in calls]
    assert (keys[0] == keys[1]) == (one == other)
    assert keys[2] not in keys[:2] or other == ""


def test_with_a_secret_no_name_stands_in_a_key() -> None:
    secret = rules({**REQUESTS, "per": ["end_user", "token"]}, secret=b"of the deployment")
    key = secret.applied(CALL)[0].key
    assert "ann" not in key.split("|", 4)[4] and "t-1" not in key
    assert key != rules({**REQUESTS, "per": ["end_user", "token"]}, secret=b"another").applied(CALL)[0].key


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "zone", "now", "begins", "ends"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00"),  # 23 hours
        ("day", "America/New_York", "2026-11-01T23:59", "2026-11-01T00:00", "2026-11-02T00:00"),  # 25 hours
        ("week", "UTC", "2026-11-22T23:59", "2026-11-16T00:00", "2026-11-23T00:00"),  # from Monday
        ("month", "Asia/Tokyo", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "UTC", "2028-02-29T00:00", "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_periods_go_from_midnight_to_midnight_of_their_zone(
    window: str, zone: str, now: str, begins: str, ends: str
) -> None:
    period = period_of(window, zone, at(now, zone))
    assert (period.begins_ms, period.ends_ms) == (at(begins, zone), at(ends, zone))


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["day", "week", "month"]),
)
def test_every_moment_lies_in_its_period_and_the_next_one_begins_where_it_ends(moment: datetime, window: str) -> None:
    now_ms = int(moment.timestamp() * 1000)
    period = period_of(window, "Europe/Berlin", now_ms)
    assert period.holds(now_ms)
    assert period.ends_ms is not None
    assert period_of(window, "Europe/Berlin", period.ends_ms).begins_ms == period.ends_ms


def test_a_call_takes_what_it_is_estimated_at() -> None:
    estimate = Estimate(input_tokens=10, output_tokens=100, cost_microusd=7)
    measures = ("requests", "parallel", "input_tokens", "output_tokens", "tokens", "cost")
    assert [estimate.of(measure) for measure in measures] == [1, 1, 10, 100, 110, 7]  # type: ignore[arg-type]


def test_what_is_charged_is_what_was_used_and_unknown_is_never_free() -> None:
    used = ended(usage=Usage(input=20, cache_read=5, output=10, reasoning=3), cost_microusd=70)
    assert actual("input_tokens", used, 1) == 25
    assert actual("output_tokens", used, 1) == 13
    assert actual("tokens", used, 1) == 38
    assert actual("cost", used, 1) == 70
    assert actual("requests", used, 1) == 1
    assert actual("parallel", used, 1) == 0
    unknown = ended(model="gpt-4o")
    assert [actual("tokens", unknown, 55), actual("cost", unknown, 66)] == [55, 66]


def test_what_asks_no_model_uses_no_tokens() -> None:
    upload, listing = ended(path="/v1/files"), ended(method="GET", model="gpt-4o")
    assert [actual(measure, event, 99) for event in (upload, listing) for measure in ("tokens", "cost")] == [0] * 4


def test_who_hangs_up_before_the_head_has_asked_all_the_same() -> None:
    early = ended(status=499, cut="client", attempts=1, upstream_head_us=None)
    assert [actual(measure, early, 7) for measure in ("requests", "tokens", "cost", "parallel")] == [7, 7, 7, 0]
    before_anything = ended(status=499, cut="client", attempts=0, upstream_head_us=None)
    assert actual("requests", before_anything, 1) == 0


def test_counting_tokens_is_free() -> None:
    for path in (
        "/v1/messages/count_tokens",
        "/v1beta/models/g:countTokens",
        "/v1/moderations",
        "/v1/responses/input_token%73",
    ):
        assert actual("tokens", ended(path=path, model="m"), 600) == 0


def test_pictures_are_not_estimated_as_text() -> None:
    assert input_tokens(b"x" * 4000) == 1000
    assert input_tokens(b'{"url":"data:image/png;base64,' + b"A" * 4_000_000) == 16_000


def test_what_the_upstream_refused_or_never_answered_costs_no_tokens() -> None:
    refused = ended(status=429)
    assert [actual("tokens", refused, 5), actual("cost", refused, 6), actual("requests", refused, 1)] == [0, 0, 1]
    never = ended(status=502, upstream_head_us=None)
    assert [actual("tokens", never, 5), actual("cost", never, 6), actual("requests", never, 1)] == [0, 0, 0]
