"""What a soak complains of, from canned looks."""

from collections import Counter
from collections.abc import Callable

from tests.bench.gauges import Gauge, Look, growth, slope
from tests.bench.soak import complaints

FINE = Counter({"ten answers": 100, "left": 5})


def looks(rss_mib: Callable[[int], float], files: Callable[[int], int] = lambda minute: 50) -> list[Look]:
    return [
        Look(minute * 60.0, {"worker": Gauge(rss_mib(minute), files(minute), 8)}, {"llm_proxy_inflight_requests": 0.0})
        for minute in range(46)
    ]


def test_a_few_odd_minutes_do_not_bend_the_slope() -> None:
    points = [(float(x), 2.0 * x + (500 if x in (3, 17, 18) else 0)) for x in range(20)]

    assert abs(slope(points) - 2.0) < 0.2


def test_growth_is_a_part_of_where_it_begins() -> None:
    assert abs(growth([(float(x), 100.0 + x) for x in range(21)]) - 0.2) < 1e-9


def test_a_process_that_fills_its_caches_in_the_first_minutes_is_flat() -> None:
    assert complaints(looks(lambda minute: 50 + min(minute, 4) * 10), FINE) == []


def test_a_process_that_grows_all_the_time_is_told() -> None:
    assert complaints(looks(lambda minute: 60 + minute), FINE) == ["memory of worker grew by 62%"]


def test_files_that_become_more_and_more_are_told() -> None:
    assert complaints(looks(lambda minute: 60, lambda minute: 50 + minute), FINE) == [
        "files of worker went from 55 to 95"
    ]


def test_an_unexpected_answer_is_told() -> None:
    assert complaints(looks(lambda minute: 60), FINE + Counter({"500": 2})) == ["2 x 500"]
