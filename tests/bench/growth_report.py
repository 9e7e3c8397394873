"""The tables of growth.md."""

from collections.abc import Sequence

from tests.bench.growth import MOST, Filled, Grown, Streams
from tests.bench.outcome import Turn


def ratio(grown: Grown, filled: Filled) -> float:
    """Of processor time, against the first proxy, which has one token."""
    first = grown.filled[0]
    return filled.cpu_us(filled.turns) / first.cpu_us(first.turns)


def noise(grown: Grown) -> float:
    return abs(ratio(grown, grown.filled[1]) - 1)


def complaints(grown: Grown) -> list[str]:
    found = [
        f"a call costs {ratio(grown, one):.2f}x with {one.tokens:,} tokens"
        for one in grown.filled[2:]
        if ratio(grown, one) > MOST + noise(grown)
    ]
    return found + [f"{q.name}: walks the whole table" for q in grown.many.queries if q.scans]


def as_markdown(grown: Grown) -> str:
    return "\n".join(
        [
            "# Cost as it grows: `python -m tests.bench.growth`",
            "",
            f"{grown.began:%Y-%m-%d %H:%M} UTC, load average of the machine before the run {grown.load_average:.1f}.",
            "One worker on a core that it may have to share with others' work; load and upstream on the other.",
            "",
            *([f"- **{one}**" for one in complaints(grown)] or ["No cost grew beyond its bar."]),
            "",
            "## Tokens and projects in the database",
            f"A token, a project and an API key each; {grown.rounds} interleaved rounds, 16 connections. Processor",
            f"time is the lowest tenth of the rounds; the bar is {MOST:.2f}x plus the noise, which the pair with one",
            f"token each shows: {noise(grown):.1%}.",
            "",
            "| tokens | us of a call | against 1 | req/s (best) | p50 ms (best) | worker MiB |",
            "|--:|--:|--:|--:|--:|--:|",
            *(_filled(grown, number) for number in range(len(grown.filled))),
            "",
            "Each call by the next token of all: what a worker has not seen yet it asks the database for.",
            "",
            "| tokens | us of a call | req/s (best) | worker MiB afterwards |",
            "|--:|--:|--:|--:|",
            *(_by_all(one, grown.rss_mib[number][1]) for number, one in enumerate(grown.filled)),
            "",
            "## Streams at once",
            "An event a second each, all begun at once, through one worker; the best of three rounds. The delay is",
            "from the upstream's writing to the client's reading, in the rush of the beginning too.",
            "",
            "| streams | chunks/s | us of a chunk | delay p50 ms | p99 ms | worker MiB before, most, after |",
            "|--:|--:|--:|--:|--:|--:|",
            *map(_streams, grown.streams),
            "",
            "## Recorded exchanges",
            f"{grown.many.count:,} rows took {grown.many.made_in_s:.0f} s to make and {grown.many.file_mib:,.0f} MiB",
            "(without bodies). Best of 15 and median, in ms, through the product's own repositories; a plan that walks",
            "the whole table fails.",
            "",
            f"| query | {grown.few.count:,} rows | {grown.many.count:,} rows |",
            "|---|--:|--:|",
            *_queries(grown),
            "",
        ]
    )  # fmt: skip


def _filled(grown: Grown, number: int) -> str:
    one = grown.filled[number]
    against = "" if number == 0 else f"{ratio(grown, one):.3f}"
    rate, p50_ms = _best(one.turns)
    name = f"{one.tokens:,} again" if number == 1 else f"{one.tokens:,}"
    held = grown.rss_mib[number][0]
    return f"| {name} | {one.cpu_us(one.turns):.0f} | {against} | {rate:,.0f} | {p50_ms:.2f} | {held:.1f} |"


def _by_all(one: Filled, held: float) -> str:
    return f"| {one.tokens:,} | {one.cpu_us(one.by_all):.0f} | {_best(one.by_all)[0]:,.0f} | {held:.1f} |"


def _best(turns: Sequence[Turn]) -> tuple[float, float]:
    return max(turn.rate for turn in turns), min(turn.p50_us for turn in turns) / 1000


def _streams(one: Streams) -> str:
    return (
        f"| {one.count:,} | {one.chunks_a_second:,.0f} | {one.cpu_us:.0f} | {one.p50_ms:.2f} | {one.p99_ms:.1f} "
        f"| {one.before_mib:.1f}, {one.most_mib:.1f}, {one.after_mib:.1f} |"
    )


def _queries(grown: Grown) -> list[str]:
    pairs = zip(grown.few.queries, grown.many.queries, strict=True)
    return [
        f"| {few.name} | {few.best_ms:.2f}, {few.median_ms:.2f} | {many.best_ms:.2f}, {many.median_ms:.2f} |"
        for few, many in pairs
    ]
