"""The figures as Markdown, with how they were taken and which bars they meet. Names no machine and no path."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bars import NOT_HERE, Bar, bars
from tests.bench.cases import SCALED, WHOLE
from tests.bench.figures import Figures
from tests.bench.held import Held
from tests.bench.outcome import SATURATED, Outcome, Ratio, Turn

_NOT_QUIET = "**Others were at work on this machine: the figures are worse than they should be.**"
_QUIET_LOAD = 0.5
_METHOD = f"""
are stopped meanwhile. Figures are medians over the rounds, ratios and added delays are taken within a round; least and
most of the rounds stand in brackets. All of it is HTTP/1.1 over loopback. *Ours* is one worker as the server starts
it: SQLite, bodies recorded in full (`os`), a log line per request; keeper, dispatcher and admin run only in the case
of the whole product. nginx: one worker, keep-alive upstream, one known token, the API key swapped, no log, no record.
LiteLLM and Portkey are as their registries have them, without databases: they do more with a call than nginx, and
record less than ours. *Direct* is load and upstream alone, the ceiling of this stand. A chunk's delay is the client's
clock when it reads it less the upstream's when it wrote it. *Busy* is the part of its core that a contender used:
below {SATURATED:.0%} the load, or others on that core, held its rate back, and its processor time is compared instead.
"""


def as_markdown(figures: Figures, chart: str) -> str:
    """`chart` is the name of the picture beside it."""
    return "\n".join(
        [
            "# Results of `make bench`",
            "",
            *_method(figures),
            "",
            f"![Rates of all contenders, case by case]({chart})",
            "",
            "## Bars",
            *_table(("bar", "wanted", "measured", "noise", ""), [_bar_row(bar) for bar in bars(figures)]),
            "",
            "A bar counts as missed only beyond the noise: what the A/A pair (ours twice, in processes of its own)",
            f"was apart; {NOT_HERE}.",
            "",
            *(line for outcome in figures.outcomes for line in _case(outcome)),
            "## Where the time of an exchange goes (JSON, c=1)",
            *_table(("stage", "mean us"), [(stage.name, f"{stage.mean_us:,.1f}") for stage in figures.stages]),
            "",
            "Each processor is told until it lets the rest proceed; what it does after the reply is in the exchange's",
            "whole. The rows after the processors lie across them and do not add up.",
            "",
            "## Memory of the worker (MiB, RSS / PSS)",
            *_table(("while passing", "before", "most", "after", "seconds"), [_held_row(h) for h in figures.held]),
            "",
            "## Start (seconds until /ready says yes)",
            f"{', '.join(f'{s:.2f}' for s in sorted(figures.starts_s))}: the whole product, on all cores.",
            "",
            *_not_measured(figures),
        ]
    )  # fmt: skip


def _method(figures: Figures) -> list[str]:
    plan, cpus = figures.plan, len(os.sched_getaffinity(0))
    placed = "contenders on one core, upstream and load on the rest" if cpus > 1 else "everything on one core"
    return [
        f"{figures.began:%Y-%m-%d %H:%M} UTC; {', '.join(figures.versions)}; {cpus} cores, {placed};",
        f"load average before the run {figures.load_average:.1f}; the run took {figures.took_s:.0f} s.",
        "",
        *([_NOT_QUIET, ""] if figures.load_average > _QUIET_LOAD else []),
        f"Every contender has a turn in each of {plan.rounds} rounds ({plan.seconds:g} s, paced streams 1 s); the rest",
        *_METHOD.strip().splitlines(),
        *_priority(),
    ]  # fmt: skip


def _priority() -> Iterator[str]:
    """Whoever raises the run above its neighbours, as one does on a shared machine, is to say so."""
    with contextlib.suppress(OSError, IndexError):
        raised = int(Path("/proc/self/autogroup").read_text().split()[-1])
        if raised:
            yield f"The run's session had scheduler priority {raised} over theirs."


def _case(outcome: Outcome) -> Iterator[str]:
    case = outcome.case
    if case.name == WHOLE.name:
        note = "Processor time is that of all processes until every event is delivered. Redis is on the other core."
    elif case.name == SCALED.name:
        times = _ratio(outcome.ratio("2 workers", "1 worker"))
        note = f"On all cores, together with load and upstream. Two workers answer {times} times what one does."
    elif case.kind == "streams":
        offered = case.concurrency * 1000 / case.gap_ms
        note = f"{offered:,.0f} chunks/s offered, each stream at its own time; delays and processor time are a chunk's."
    elif "nginx" in outcome.turns and outcome.is_held_back("nginx"):
        note = "The load held nginx back: ratios to it are those of processor time."
    else:
        note = ""
    ours_to = "its CPU : ours" if _is_paced(outcome) else "ours : it"
    head = ("contender", case.unit, "p50 ms", "p99 ms", "CPU us", "busy", "of nginx", ours_to)
    yield from (f"## {case.name}", *([note, ""] if note else []))
    yield from _table(head, [_row(outcome, name) for name in outcome.turns])
    if (noise := outcome.noise()) is not None:
        yield from ("", f"Noise of the A/A pair: {noise:.0%}.")
    if outcome.cannot:
        yield from ("", f"Not here: {'; '.join(f'{name} ({why})' for name, why in outcome.cannot.items())}.")
    yield ""


def _row(outcome: Outcome, name: str) -> tuple[str, ...]:
    def median(what: str) -> float:
        return outcome.median(name, lambda turn: float(getattr(turn, what)))

    lost = sum(turn.lost for turn in outcome.turns[name])
    return (
        name + (f" ({lost:,} chunks late)" if lost else ""),
        f"{median('rate'):,.0f}",
        f"{median('p50_us') / 1000:.2f}",
        f"{median('p99_us') / 1000:.2f}",
        f"{median('cpu_us'):,.1f}" if median("cpu_us") else "",
        f"{median('busy'):.2f}" if median("cpu_us") else "",
        _ratio(outcome.of_the_limit(name)) if name not in ("direct", "nginx") and not _is_paced(outcome) else "",
        _ratio(_ours_to(outcome, name)),
    )


def _is_paced(outcome: Outcome) -> bool:
    return outcome.case.kind == "streams"


def _ours_to(outcome: Outcome, name: str) -> Ratio | None:
    if name in ("direct", "nginx", "ours"):
        return None
    if _is_paced(outcome):
        return outcome.ratio(name, "ours", _cpu)
    return outcome.ratio("ours", name)


def _cpu(turn: Turn) -> float:
    return turn.cpu_us


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    digits = 1 if ratio.median >= 10 else 2 if ratio.median >= 0.1 else 3
    return f"{ratio.median:.{digits}f} ({ratio.least:.{digits}f} to {ratio.most:.{digits}f})"


def _bar_row(bar: Bar) -> tuple[str, ...]:
    measured = "" if bar.measured is None else f"{bar.measured:.3g}{bar.unit}"
    return (bar.what, bar.wanted, measured, f"{bar.noise:.0%}" if bar.noise else "", bar.verdict)


def _held_row(h: Held) -> tuple[str, ...]:
    pairs = ((h.rss_before, h.pss_before), (h.rss_most, h.pss_most), (h.rss_after, h.pss_after))
    return (h.name, *(f"{rss:.1f} / {pss:.1f}" for rss, pss in pairs), f"{h.seconds:.1f}")


def _not_measured(figures: Figures) -> list[str]:
    missing = [f"{name} ({why})" for name, why in figures.absent.items()]
    return ["## Not measured", f"{'; '.join(missing)}.", ""] if missing else []


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
