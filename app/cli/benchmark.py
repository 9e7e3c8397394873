"""`llm-proxy benchmark`: how many calls a second, how fast, and how much of it is ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import Failure

if TYPE_CHECKING:
    from app.benchmark.plan import Plan

_USUAL_RUN = 100
_TOKEN = "PROXY_TOKEN"  # noqa: S105 - the name of a variable


def benchmark(
    base_url: Annotated[str, typer.Option("--base-url", help="The proxy's URL.")] = "http://127.0.0.1:8080",
    endpoint: Annotated[str, typer.Option("--endpoint", help="Path to call.")] = "/v1/chat/completions",
    token: Annotated[str | None, typer.Option("--token", help="A token; better by --token-env.")] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", help="Variable that holds it [default: PROXY_TOKEN].")
    ] = None,
    requests: Annotated[int | None, typer.Option("--requests", "-r", min=1, help="How many [default: 100].")] = None,
    duration: Annotated[float | None, typer.Option("--duration", min=0.1, help="Or for how many seconds.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, max=10_000, help="At once, at most.")] = 10,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.01, help="Calls a second, come what may (open loop).")
    ] = None,
    warm_up: Annotated[int, typer.Option("--warm-up", min=0, help="Calls before, that are not measured.")] = 20,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that an answer may be silent.")] = 60,
    method: Annotated[str, typer.Option("--method", help="HTTP method; GET sends no body.")] = "POST",
    model: Annotated[
        str, typer.Option("--model", help="Of the question that is asked without --body.")
    ] = "gpt-4.1-mini",
    stream: Annotated[bool, typer.Option("--stream", help="Ask for a stream: tells time to first token.")] = False,
    body: Annotated[Path | None, typer.Option("--body", exists=True, dir_okay=False, help="What to send.")] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="Another one, `name: value`.")] = None,
    direct: Annotated[str | None, typer.Option("--direct", help="The provider's URL: asked in turn.")] = None,
    direct_key_env: Annotated[
        str, typer.Option("--direct-key-env", help="Variable that holds the provider's key.")
    ] = "OPENAI_API_KEY",
    json_file: Annotated[str | None, typer.Option("--json", help="Write the report there; - is stdout.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a line for each call there.")] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", exists=True, dir_okay=False, help="A report of --json to stand against.")
    ] = None,
) -> None:
    """Measure a running server: calls a second, latency, time to first token, what the proxy adds.

    \b
    Examples:
      llm-proxy benchmark -r 1000 -c 20 --token sk-...
      llm-proxy benchmark --duration 60 --rate 200 --stream --json before.json
      llm-proxy benchmark -r 500 --direct https://api.openai.com --compare before.json
    """
    from app.cli import benchmark_output, benchmark_plan

    plan = benchmark_plan.plan_of(
        base_url=base_url,
        endpoint=endpoint,
        token=benchmark_plan.secret(token, token_env or _TOKEN),
        method=method,
        body=benchmark_plan.question(body, model=model, endpoint=endpoint, stream=stream, method=method),
        headers=header or [],
        direct=direct,
        direct_key=benchmark_plan.secret(None, direct_key_env) if direct else "",
        requests=requests if requests or duration else _USUAL_RUN,
        duration_s=duration,
        concurrency=concurrency,
        rate=rate,
        warm_up=warm_up,
        timeout_s=timeout,
    )
    earlier = benchmark_output.read_report(compare) if compare else None
    samples, report = benchmark_output.measured(plan, stream=stream)
    if csv_file:
        benchmark_output.write_csv(csv_file, samples)
    benchmark_output.show(report, json_file, earlier)
    _fail_when_nothing_went_well(report.proxy.requests - report.proxy.failed, plan)


def _fail_when_nothing_went_well(good: int, plan: "Plan") -> None:
    if not good:
        raise Failure(f"no call to {plan.targets[0].base_url} went well; the statuses and codes above say why")
