"""Runs the plan of `llm-proxy benchmark` with a progress bar, and tells what came of it."""

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from app.benchmark.call import Sample
from app.benchmark.figures import VERSION, Difference, Figures, Report, added, compared, figures_of
from app.benchmark.load import run
from app.benchmark.plan import Plan
from app.cli import output
from app.cli.failures import Failure

_PARTS = ("p50", "p95", "p99", "max", "mean")


def measured(plan: Plan, *, stream: bool) -> tuple[list[Sample], Report]:
    started, samples = datetime.now(UTC), list[Sample]()
    with _progress(plan) as advance:

        def seen(sample: Sample) -> None:
            samples.append(sample)
            advance(sample)

        seconds = uvloop.run(run(plan, seen))
    proxy = figures_of("proxy", samples, seconds)
    direct = figures_of("direct", samples, seconds) if len(plan.targets) > 1 else None
    return samples, Report(
        started_at=started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        settings=_settings(plan, stream),
        seconds=round(seconds, 3),
        proxy=proxy,
        direct=direct,
        added_ms=added(proxy, direct) if direct else None,
    )


def show(report: Report, json_file: str | None, earlier: Report | None) -> None:
    """On stdout: JSON when it is asked for there, else for people."""
    if json_file == "-":
        output.as_json(report)
        return
    if json_file:
        Path(json_file).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    _tell(report)
    if earlier:
        output.say()
        output.table([_compared_line(one) for one in compared(earlier, report)], ("figure", "before", "now", "change"))


def read_report(file: Path) -> Report:
    """Raises Failure."""
    try:
        report = msgspec.json.decode(file.read_bytes(), type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{file} is no report of `llm-proxy benchmark --json` ({error})") from error
    if report.version != VERSION:
        raise Failure(f"{file} is of another version of llm-proxy ({report.version}, not {VERSION})")
    return report


def write_csv(file: Path, samples: list[Sample]) -> None:
    """In the order of the answers."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(Sample.__struct_fields__)
        writer.writerows(msgspec.structs.astuple(sample) for sample in samples)


def _tell(report: Report) -> None:
    sides = [report.proxy, *([report.direct] if report.direct else [])]
    output.table([_line(one) for one in sides], ("", "requests", "failed", "per_s", "tokens_per_s", "bytes"))
    output.say()
    spreads = [(f"{one.side} {name}", getattr(one, f"{name}_ms")) for one in sides for name in ("latency", "ttft")]
    rows = [(name, spread) for name, spread in [*spreads, ("added by the proxy", report.added_ms)] if spread]
    output.table([{"ms": name, **msgspec.structs.asdict(spread)} for name, spread in rows], ("ms", *_PARTS))
    for one in sides:
        said = [*one.statuses.items(), *one.codes.items()]
        output.say(f"\n{one.side} answered: " + ", ".join(f"{name} {number}x" for name, number in said))


def _line(figures: Figures) -> dict[str, object]:
    return {"": figures.side, **msgspec.structs.asdict(figures)}


def _compared_line(one: Difference) -> dict[str, object]:
    change = None if one.percent is None else f"{one.percent:+.1f} %"
    return {"figure": one.name, "before": one.before, "now": one.after, "change": change}


def _settings(plan: Plan, stream: bool) -> dict[str, str | int | float | bool | None]:
    """What the figures depend on; no header, since those hold secrets."""
    return {
        "base_url": plan.targets[0].base_url,
        "direct": plan.targets[1].base_url if len(plan.targets) > 1 else None,
        "endpoint": plan.endpoint,
        "method": plan.method,
        "body_bytes": len(plan.body),
        "stream": stream,
        "concurrency": plan.concurrency,
        "rate": plan.rate,
        "loop": "closed" if plan.rate is None else "open",
        "warm_up": plan.warm_up,
    }


@contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[Sample], None]]:
    """A bar on stderr, only where somebody looks at it; drawn ten times a second, not for each call."""
    if not sys.stderr.isatty():
        yield lambda sample: None
        return
    from rich.console import Console
    from rich.progress import Progress

    total = None if plan.requests is None else plan.requests * len(plan.targets)
    began = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True, refresh_per_second=10) as bar:
        task = bar.add_task("asking", total=total or plan.duration_s)

        def advance(sample: Sample) -> None:
            if total is None:
                bar.update(task, completed=time.perf_counter() - began)
            else:
                bar.advance(task)

        yield advance
