"""`llm-proxy manage usage`: what was used, and what it cost."""

import time
from typing import Annotated, Any, Literal

import typer

from app.cli import output
from app.cli.manage_options import BaseUrl, Limit, ManagementToken, api
from app.cli.moments import moment_ms, told
from app.cli.options import AsJson

By = Annotated[Literal["project", "token", "provider", "model", "end_user"], typer.Option("--by", help="Of what.")]
Every = Annotated[Literal["minute", "hour", "day"], typer.Option("--every", help="The length of a period, in UTC.")]
Only = Annotated[str | None, typer.Option(help="Only this one's.")]
_READ = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "audio_input_tokens")
_WRITTEN = ("output_tokens", "reasoning_tokens", "audio_output_tokens")
_COLUMNS = ("start", "name", "requests", "errors", "prompt_tokens", "completion_tokens", "cost_usd", "cost_unknown")


def usage(
    context: typer.Context,
    by: By = "project",
    every: Every = "day",
    since: Annotated[str | None, typer.Option("--since", help="2h (ago), 30d, or 2026-11-21T10:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="The same [default: now].")] = None,
    project_id: Only = None,
    token_id: Only = None,
    provider: Only = None,
    model: Only = None,
    end_user: Only = None,
    limit: Limit = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Show requests, model tokens and cost per minute, hour or day.

    \b
    Examples:
      llm-proxy manage usage --by model --every day --since 30d
      llm-proxy manage usage --by end_user --every hour --project-id ID --json
    """
    now_ms = time.time_ns() // 1_000_000
    window = {
        name: told(moment_ms(text, now_ms)) for name, text in (("since", since), ("until", until)) if text is not None
    }
    chosen = {
        "project_id": project_id,
        "token_id": token_id,
        "provider": provider,
        "model": model,
        "end_user": end_user,
    }
    params = {"by": by, "every": every, **window, **{name: value for name, value in chosen.items() if value}}
    rows = list(api(context, base_url, management_token).rows("/manage/usage", params, limit))
    if as_json:
        output.as_json(rows)
    else:
        output.table([_line(row) for row in rows], _COLUMNS)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    cost = row["cost_microusd"]
    return {
        **row,
        "prompt_tokens": sum(row[name] for name in _READ),
        "completion_tokens": sum(row[name] for name in _WRITTEN),
        "cost_usd": None if cost is None else f"{cost / 1e6:.6f}",
    }
