"""`llm-proxy replay`: what is recorded in the database, once more to one backend."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import Struct

from app.cli import output
from app.cli.failures import FAILED, Failure, say
from app.cli.moments import moment_ms, per_second, told
from app.cli.options import AsJson, EnvFile, settings_with
from config.clock import SystemClock
from config.ending import told_to_end
from config.errors import ConfigError

if TYPE_CHECKING:
    from config.settings import Settings
    from dispatcher.replay import Replayed
    from sql.rows import RequestFilter
    from sql.stores import Stores

_DAY_MS: Final = 86_400_000
_ALL: Final = 1_000_000_000
_REFUSALS_SHOWN: Final = 10


def replay(
    since: Annotated[str, typer.Option("--since", help="From when on: 2h (ago), 7d, or 2026-11-21T10:00:00Z.")],
    backend: Annotated[str, typer.Option("--backend", help="Where to, as DISPATCHER_BACKENDS names it.")],
    until: Annotated[str, typer.Option("--until", help="Up to when, said likewise.")] = "now",
    project: Annotated[str | None, typer.Option("--project", help="Only this project's exchanges.")] = None,
    rate: Annotated[str, typer.Option("--rate", help="At most so many events: 500/s, 30/m.")] = "500/s",
    without_bodies: Annotated[
        bool, typer.Option("--without-bodies", help="Also what RETENTION_DAYS has taken the bodies of, as it is now.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Send recorded exchanges to one backend again, newest first, under their own event ids.

    They are read from the database, so only what its backend `database` has kept can be sent: nothing from before it
    was on, no bodies that were not recorded. What a backend would never take is in its dead letters: `llm-proxy dlq`.
    Exit code 1: some were refused, or it ended early and says where to go on.

    \b
    Examples:
      llm-proxy replay --since 2h --backend webhook --dry-run
      llm-proxy replay --since 2026-11-20T00:00Z --until 1d --backend lunary --rate 50/s
    """
    now_ms = SystemClock().now_ms()
    asked = Asked(backend, moment_ms(since, now_ms), moment_ms(until, now_ms), project, per_second(rate))
    if asked.since_ms >= asked.until_ms:
        raise typer.BadParameter("--since must lie before --until")
    settings = settings_with({}, env)
    kept_from_ms = now_ms - settings.retention_days * _DAY_MS if settings.retention_days and not without_bodies else 0
    _tell(asyncio.run(_replay(settings, asked, kept_from_ms, dry_run=dry_run)), as_json)


class Asked(Struct, frozen=True):
    backend: str
    since_ms: int
    until_ms: int
    project: str | None
    rate: float


class Done(Struct, frozen=True):
    asked: Asked
    found: int
    skipped: int
    """Whose bodies are gone."""
    replayed: "Replayed | None" = None
    """None after a dry run."""


async def _replay(settings: "Settings", asked: Asked, kept_from_ms: int, *, dry_run: bool) -> Done:
    from sql.repositories import requests
    from sql.rows import RequestFilter
    from sql.stores import main_path, open_stores

    if settings.db_driver == "sqlite" and not main_path(settings).with_name("records.db").exists():
        raise Failure(f"nothing is recorded in {settings.data_dir}; is DATA_DIR that of the server?")
    async with contextlib.AsyncExitStack() as stack:
        stores = open_stores(settings)
        stack.push_async_callback(stores.close)
        chosen = RequestFilter(project_id=asked.project, since_ms=asked.since_ms, until_ms=asked.until_ms)
        sendable = RequestFilter(
            project_id=asked.project, since_ms=max(asked.since_ms, kept_from_ms), until_ms=asked.until_ms
        )
        send = _prepared(settings, stores, asked)
        found = await requests.count_capped(stores.records, chosen, _ALL)
        skipped = found - await requests.count_capped(stores.records, sendable, _ALL)
        replayed = None if dry_run else await send(sendable)
    return Done(asked, found, skipped, replayed)


def _prepared(settings: "Settings", stores: "Stores", asked: Asked) -> Any:
    """Raises ConfigError for a backend that cannot be built, before anything is counted."""
    from dispatcher.main import build_backend
    from dispatcher.recorded import recorded
    from dispatcher.replay import replay as replay_to
    from dispatcher.worker import Pace

    if asked.backend == "database":
        raise ConfigError(["--backend database: the database is what is read from"])
    backend = build_backend(asked.backend, settings, stores)

    async def send(chosen: "RequestFilter") -> "Replayed":
        events = recorded(stores.records, chosen)
        return await replay_to(backend, events, Pace.from_settings(settings), rate=asked.rate, stop=told_to_end())

    return send


def _tell(done: Done, as_json: bool) -> None:
    if as_json:
        output.as_json(_row(done))
    else:
        _say(done)
    if done.replayed and (done.replayed.refused or not done.replayed.is_complete):
        raise typer.Exit(FAILED)


def _row(done: Done) -> dict[str, Any]:
    asked, replayed = done.asked, done.replayed
    row: dict[str, Any] = {
        "backend": asked.backend,
        "since": told(asked.since_ms),
        "until": told(asked.until_ms),
        "found": done.found,
        "skipped": done.skipped,
    }
    if replayed is None:
        return row
    left = max(0, done.found - done.skipped - replayed.sent - len(replayed.refused))
    row |= {"sent": replayed.sent, "failed": len(replayed.refused), "left": left, "failures": replayed.refused}
    if not replayed.is_complete:
        resume = None if replayed.resume_until_ms is None else told(replayed.resume_until_ms)
        row |= {"reason": replayed.reason or "interrupted", "go_on_with_until": resume}
    return row


def _say(done: Done) -> None:
    row = _row(done)
    for failure in row.pop("failures", ())[:_REFUSALS_SHOWN]:
        say(f"{failure.event_id}: {failure.reason}")
    output.fields(row)
