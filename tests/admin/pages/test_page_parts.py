"""The pure parts of the pages: figures in words, charts, cursors, forms."""

from itertools import pairwise
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from admin import wording
from admin.charts import HEIGHT, WIDTH, bars, timeline
from admin.forms import Filled, Form
from admin.lists import PAGE_ROWS, Whole, address, pager, read_cursor, write_cursor
from admin.windows import OVERVIEW, REQUESTS

durations = st.none() | st.integers(0, 10**10)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (420, "0.4 ms"), (42_000, "42 ms"), (999_000, "999 ms"), (61_000_000, "61.0 s")]
)
def test_durations_are_said_in_a_unit_that_fits(value: int | None, text: str) -> None:
    assert wording.milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (0, "$0.00"), (1_234_567, "$1.23"), (5_000_000_000, "$5,000.00"), (120, "$0.00012")],
)
def test_an_unknown_cost_is_never_nothing(value: int | None, text: str) -> None:
    assert wording.cost(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB")])
def test_sizes(value: int, text: str) -> None:
    assert wording.size(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "0 %"), (1, 300, "0.3 %"), (30, 100, "30 %"), (0, 9, "0 %")]
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert wording.percent(part, whole) == text


@given(at_ms=st.integers(0, 4_000_000_000_000))
def test_a_time_is_utc_in_both_its_forms(at_ms: int) -> None:
    moment = wording.moment(at_ms)

    assert moment.iso.endswith("Z")
    assert moment.iso.replace("T", " ").replace("Z", " UTC") == moment.text


@given(
    series=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 10**9), st.integers(0, 10**9)), max_size=60),
)
def test_every_bar_stays_in_the_drawing(series: list[tuple[int, int, int]]) -> None:
    minute = 60_000
    chart = bars([(at * minute, max(n, e), min(n, e)) for at, n, e in series], 0, 60 * minute, minute)

    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert 0 <= bar.y <= bar.error_y <= HEIGHT
        assert bar.error_height <= bar.height <= HEIGHT


@given(head=durations, first=durations, last=durations)
def test_a_timeline_never_overlaps_nor_overflows(head: int | None, first: int | None, last: int | None) -> None:
    segments = timeline(head, first, last)

    for before, after in pairwise(segments):
        assert before.x <= after.x
    assert sum(segment.duration_us for segment in segments) <= (last or 0)
    assert all(0 <= segment.x <= WIDTH for segment in segments)


@given(now_ms=st.integers(10**12, 2 * 10**12), window=st.sampled_from([*OVERVIEW.values(), *REQUESTS.values()]))
def test_a_window_holds_now_and_is_cut_into_whole_buckets(now_ms: int, window: object) -> None:
    since, until = window.since(now_ms), window.until(now_ms)  # type: ignore[attr-defined]

    assert since < now_ms < until
    assert (until - since) % window.bucket_ms == 0  # type: ignore[attr-defined]
    assert since % window.bucket_ms == 0 == until % window.bucket_ms  # type: ignore[attr-defined]


@pytest.mark.slow
@given(at_ms=st.integers(0, 2**63 - 1), name=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_a_cursor_comes_back_as_it_went(at_ms: int, name: str) -> None:
    assert read_cursor(write_cursor((at_ms, name)), tuple[Whole, str]) == (at_ms, name)


@given(text=st.text(max_size=80))
def test_a_cursor_of_somebody_else_is_none(text: str) -> None:
    found = read_cursor(text, tuple[Whole, str])

    assert found is None or (isinstance(found[0], int) and isinstance(found[1], str))


@pytest.mark.parametrize("key", [(-1, "x"), (2**63, "x"), ("x", "x"), (1, "a\0b"), (1,), (1, "x", 2)])
def test_a_cursor_that_a_database_would_refuse_is_none(key: tuple[str | int, ...]) -> None:
    assert read_cursor(write_cursor(key), tuple[Whole, str]) is None


def test_the_way_back_is_forgotten_before_the_address_is_too_long() -> None:
    keys = [(10**12 + n, f"{n:036}") for n in range(PAGE_ROWS + 1)]
    query: dict[str, str] = {}
    for _ in range(200):
        pages = pager("/admin/requests", {"model": "m"}, query, keys)
        assert pages.next
        query = dict(part.split("=", 1) for part in pages.next.partition("?")[2].split("&"))

    assert len(pages.next or "") < 4096


def test_an_address_says_only_what_was_chosen() -> None:
    assert address("/x", {"a": "", "b": None, "c": "ü&="}) == "/x?c=%C3%BC%26%3D"
    assert address("/x", {"a": ""}) == "/x"


class Sample(Form, frozen=True, kw_only=True):
    SAY: ClassVar = {"name": "Give a name."}
    name: Annotated[str, Meta(min_length=1)]
    number: Annotated[int, Meta(ge=1)] | None = None
    is_on: bool = False


@given(values=st.dictionaries(st.sampled_from(["name", "number", "is_on", "other"]), st.text(max_size=20)))
def test_a_form_is_read_or_told_field_by_field(values: dict[str, str]) -> None:
    filled = Filled(Sample, values)

    assert set(filled.errors) <= {"name", "number", "is_on"}
    if not filled.errors:
        assert filled.form.name
        assert filled.form.number is None or filled.form.number >= 1


def test_every_wrong_field_of_a_form_is_told_at_once() -> None:
    filled = Filled(Sample, {"name": "  ", "number": "none at all", "is_on": "maybe"})

    assert filled.errors == {
        "name": "Give a name.",
        "number": "This cannot be used here.",
        "is_on": "This cannot be used here.",
    }
