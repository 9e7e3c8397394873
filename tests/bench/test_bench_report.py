"""What a bench run publishes, from canned figures."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest

from tests.bench.bars import Bar, bars
from tests.bench.cases import AGAIN, ALONE, JSON, PACED, QUICK
from tests.bench.chart import as_svg
from tests.bench.figures import Figures
from tests.bench.held import Held
from tests.bench.load import Job
from tests.bench.outcome import Outcome, Turn
from tests.bench.report import as_markdown
from tests.bench.stages import Stage
from tests.bench.stand import LoadFailed, do
from tests.support.proxy import free_port


def turns(*rates: float, busy: float = 1.0) -> list[Turn]:
    return [Turn(rate=rate, p50_us=100, p99_us=200, cpu_us=busy / rate * 1e6, busy=busy) for rate in rates]


def figures(*outcomes: Outcome) -> Figures:
    return Figures(
        plan=QUICK,
        began=datetime(2026, 11, 21, tzinfo=UTC),
        took_s=60,
        load_average=3.0,
        versions=["Python 3.11"],
        absent={"LiteLLM": "not installed (make bench-peers)"},
        outcomes=list(outcomes),
        stages=[Stage("Authenticate, until it lets proceed", 12.5)],
        held=[Held("a body", 1.0, 60, 70, 65, 50, 60, 55)],
        idle_worker_mib=60,
        idle_whole_mib=None,
        starts_s=[1.2, 0.9],
    )


def load(ours: list[Turn], nginx: list[Turn], pair: list[Turn] | None = None) -> Outcome:
    return Outcome(JSON, {"ours": ours, AGAIN: pair or ours, "nginx": nginx}, {"Portkey": "500 <oops>"})


def bar(figures: Figures, what: str) -> Bar:
    return next(bar for bar in bars(figures) if bar.what == what)


def test_ratios_are_taken_within_a_round() -> None:
    outcome = load(turns(100, 200, 300), turns(1000, 1000, 1000))

    ratio = outcome.ratio("ours", "nginx")

    assert ratio is not None
    assert (ratio.least, ratio.median, ratio.most) == (0.1, 0.2, 0.3)


def test_processor_time_is_compared_where_the_load_held_nginx_back() -> None:
    outcome = load(turns(100), turns(1000, busy=0.5))

    ratio = outcome.of_the_limit("ours")

    assert ratio is not None
    assert ratio.median == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("ours", "pair", "verdict"),
    [(250, 250, "met"), (190, 170, "missed within the noise"), (190, 190, "**missed**"), (100, 90, "**missed**")],
)
def test_a_bar_is_missed_only_beyond_the_noise(ours: float, pair: float, verdict: str) -> None:
    found = figures(load(turns(ours), turns(1000), turns(pair)))

    assert bar(found, "JSON 1 KiB, c=64: of nginx").verdict == verdict


def test_a_bar_without_its_peer_says_why() -> None:
    found = figures(load(turns(100), turns(1000)))

    told = bar(found, "JSON 1 KiB, c=64: of LiteLLM")

    assert told.verdict == "not measured: LiteLLM: not installed (make bench-peers)"
    assert not told.is_missed


def test_the_report_tells_bars_cases_stages_and_what_is_missing() -> None:
    text = as_markdown(figures(load(turns(100), turns(1000))), "results.svg")

    assert "![Rates of all contenders, case by case](results.svg)" in text
    assert "| JSON 1 KiB, c=64: of nginx | >= 0.2 | 0.1 |" in text
    assert "| ours | 100 | 0.10 | 0.20 | 10,000.0 | 1.00 | 0.10 (0.10 to 0.10) |  |" in text
    assert "| Authenticate, until it lets proceed | 12.5 |" in text
    assert "Not here: Portkey (500 <oops>)." in text
    assert "LiteLLM (not installed (make bench-peers))" in text
    assert "Others were at work on this machine" in text


def test_the_chart_has_a_longer_bar_for_the_faster() -> None:
    paced = Outcome(PACED, {"ours": turns(6400)}, {})
    alone = Outcome(ALONE, {"direct": turns(50_000)}, {})

    tree = ET.fromstring(as_svg([load(turns(100), turns(1000)), paced, alone]))

    bars = tree.findall("{http://www.w3.org/2000/svg}rect")
    ours, nginx, direct = (float(bar.attrib["width"]) for bar in bars)
    assert ours < nginx < direct


def test_a_load_that_fails_tells_why_in_a_line() -> None:
    with pytest.raises(LoadFailed, match=r"^ConnectionRefusedError: .*refused$"):
        do(Job(kind="json", port=free_port(), seconds=0.1))
