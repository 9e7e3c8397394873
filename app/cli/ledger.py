"""`llm-proxy ledger`: whether every recorded event is delivered, dead, on its way, or counted as gone, per backend."""

import asyncio

import typer

from app.cli import output
from app.cli.options import AsJson, EnvFile, settings_with

_COLUMNS = (
    "backend",
    "recorded",
    "delivered",
    "dead",
    "pending",
    "waiting",
    "parked",
    "purged",
    "earlier",
    "lost",
    "dropped",
    "missing",
)


def ledger(env: EnvFile = None, as_json: AsJson = False) -> None:
    """Show per backend where all recorded events are. Exit code 1 when that does not add up.

    recorded = delivered + dead + pending + waiting + parked + purged + earlier + lost + dropped; `missing` is what is
    left.

    \b
    Example:
      llm-proxy ledger --json
    """
    from app.cli.failures import FAILED
    from bus.standing import standing, verdict

    found = asyncio.run(standing(settings_with({}, env))).ledger
    if as_json:
        output.as_json({"closes": found.closes, "relay_missing": found.relay_missing, "accounts": found.accounts})
    else:
        output.table([{name: getattr(row, name) for name in _COLUMNS} for row in found.accounts], _COLUMNS)
        output.say()
        output.say(verdict(found))
    if not found.closes:
        raise typer.Exit(FAILED)
