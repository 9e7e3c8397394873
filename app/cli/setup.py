"""`llm-proxy setup`: secrets into `.env`, the database, and a first project and token that work."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from app.cli import output
from app.cli.failures import Failure
from app.cli.options import AsJson
from config.errors import ConfigError

_DAY_MINUTES = 1440


def setup(
    config: Annotated[Path, typer.Option("--config", help="The file to write.")] = Path(".env"),
    key: Annotated[
        str | None,
        typer.Option(
            "--openai-key", "--provider-key", help="The provider's key; - reads it from stdin; asked for else."
        ),
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", help="Whose key it is [default: the default provider, openai].")
    ] = None,
    management_token: Annotated[
        str | None, typer.Option("--management-token", help="Instead of a generated one.")
    ] = None,
    db: Annotated[Path | None, typer.Option("--db", help="Written as DATABASE_PATH.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Written as DATA_DIR.")] = None,
    addr: Annotated[str | None, typer.Option("--addr", help="Written as LISTEN_ADDR.")] = None,
    project: Annotated[str, typer.Option("--project", help="Name of the first project.")] = "default",
    duration: Annotated[
        int, typer.Option("--duration", min=1, max=525_600, help="Minutes until its token withers.")
    ] = _DAY_MINUTES,
    max_requests: Annotated[int | None, typer.Option("--max-requests", min=0, help="Quota of the token.")] = None,
    skip_project: Annotated[bool, typer.Option("--skip-project", help="Only the file and the database.")] = False,
    interactive: Annotated[bool, typer.Option("--interactive", help="Ask for the name and the duration too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file; its ENCRYPTION_KEY is kept.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make everything that a server needs: .env with secrets, the database, a project and a token.

    \b
    Examples:
      llm-proxy setup --openai-key sk-...
      llm-proxy setup --provider anthropic --provider-key sk-ant-... --project shop
      echo "$KEY" | llm-proxy setup --openai-key - --json
    """
    from app.cli.first_project import FirstProject, prepare, write_env

    if config.exists() and not force:
        raise Failure(f"{config} is there already and is left as it is; --force replaces it (and keeps ENCRYPTION_KEY)")
    if interactive:
        project = typer.prompt("Name of the project", default=project)
        duration = typer.prompt("Minutes until its token withers", default=duration, type=click.IntRange(1, 525_600))
    wanted = None
    if not skip_project:
        wanted = FirstProject(
            name=project, provider=provider or "", key=_key(key), duration_minutes=duration, max_requests=max_requests
        )
    chosen = {"MANAGEMENT_TOKEN": management_token, "DATABASE_PATH": db, "DATA_DIR": data_dir, "LISTEN_ADDR": addr}
    settings = write_env(config, {name: str(value) for name, value in chosen.items() if value is not None}, wanted)
    made = asyncio.run(prepare(settings, wanted))
    if as_json:
        output.as_json({"config": str(config), **made})
    else:
        _show(config, made)


def _key(given: str | None) -> str:
    if given == "-":
        return sys.stdin.readline().strip()
    if given is not None:
        return given
    if sys.stdin.isatty():
        return str(typer.prompt("The provider's API key", hide_input=True)).strip()
    raise ConfigError(["no provider's key: give --openai-key (or --provider-key), or --skip-project"])


def _show(config: Path, made: dict[str, str]) -> None:
    output.say(f"wrote {config} (only you can read it), and the database is ready")
    if "token" not in made:
        output.say("next: llm-proxy server")
        return
    output.say(f"project  {made['project_id']}  {made['project']}")
    output.say(f"token    {made['token']}   (shown this once)")
    output.say(f"\nnext: llm-proxy server\nthen: {made['curl']}")
