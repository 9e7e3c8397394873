"""Percentiles are values that were seen, and nothing is divided by nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.benchmark.call import Sample
from app.benchmark.figures import Difference, Report, added, compared, figures_of, spread_of


def sample(**said: Any) -> Sample:
    known = {"side": "proxy", "intended_s": 0.0, "latency_ms": 10.0, "ttft_ms": 1.0, "status": 200, "code": ""}
    return Sample(**{**known, "completion_tokens": 5, "size": 100, **said})


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float]) -> None:
    spread = spread_of(values)

    assert spread is not None
    assert spread.max == round(max(values), 3)
    for percent, found in ((50, spread.p50), (95, spread.p95), (99, spread.p99)):
        reached = [value for value in values if round(value, 3) <= found]
        below = [value for value in values if round(value, 3) < found]
        assert len(below) * 100 < percent * len(values) <= len(reached) * 100


def test_calls_that_failed_have_no_part_in_the_latency() -> None:
    calls = [sample(), sample(status=500, code="http_500", latency_ms=9000.0), sample(status=0, code="upstream_cut")]

    figures = figures_of("proxy", [*calls, sample(side="direct")], 2.0)

    assert (figures.requests, figures.failed, figures.per_s, figures.tokens_per_s) == (3, 2, 0.5, 2.5)
    assert figures.latency_ms is not None
    assert figures.latency_ms.max == 10.0
    assert (figures.statuses, figures.codes) == ({"200": 1, "500": 1, "none": 1}, {"http_500": 1, "upstream_cut": 1})


def test_where_nothing_went_well_nothing_is_compared_or_added() -> None:
    nothing = figures_of("proxy", [sample(status=503, code="draining")], 1.0)
    well = figures_of("direct", [sample(side="direct")], 1.0)
    report = Report(started_at="", settings={}, seconds=1.0, proxy=nothing)

    assert (spread_of([]), nothing.latency_ms, added(nothing, well)) == (None, None, None)
    assert [one.name for one in compared(report, report)] == ["requests/s", "failed", "tokens/s"]
    assert Difference("x", 0.0, 5.0).percent is None
