"""The commands of `llm-proxy`, put together. Each lives in a file of its own and imports what it needs when it runs."""

from collections.abc import Sequence
from typing import Annotated

import click
import typer

from app.cli import (
    admin,
    audit,
    benchmark,
    chat,
    dispatcher,
    dlq,
    doctor,
    ledger,
    manage,
    migrate,
    replay,
    server,
    setup,
)
from app.cli.failures import FAILED, MISCONFIGURED, say, tell

_ABOUT = """A self-hosted LLM gateway: transparent proxy, withering tokens, a record of every call that is never lost.

\b
First steps:
  llm-proxy setup --openai-key sk-...       makes .env, a project and a token
  llm-proxy server                          serves on :8080, the admin on :8081
  llm-proxy chat "hello" --token sk-...     talks through it
  llm-proxy doctor                          says what is wrong, and what to do
"""

cli = typer.Typer(
    name="llm-proxy",
    help=_ABOUT,
    no_args_is_help=True,
    add_completion=False,
    suggest_commands=False,  # click suggests already
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
openai = typer.Typer(help="Older place of `chat`.", rich_markup_mode=None, no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"llm-proxy {version('llm-proxy')}")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Only carries --version; the help above is the program's."""


cli.command("setup")(setup.setup)
cli.command("server")(server.server)
cli.command("admin")(admin.admin)
cli.command("dispatcher")(dispatcher.dispatcher)
cli.add_typer(manage.manage, name="manage")
cli.command("chat")(chat.chat)
cli.add_typer(migrate.migrate, name="migrate")
cli.add_typer(audit.audit, name="audit")
cli.add_typer(dlq.dlq, name="dlq")
cli.command("ledger")(ledger.ledger)
cli.command("replay")(replay.replay)
cli.command("doctor")(doctor.doctor)
cli.command("benchmark")(benchmark.benchmark)
openai.command("chat")(chat.chat)
cli.add_typer(openai, name="openai", hidden=True)


def run_command(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code."""
    try:
        result = typer.main.get_command(cli).main(list(arguments), prog_name="llm-proxy", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return MISCONFIGURED
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "llm-proxy"
        say(f"{error.format_message()} Try `{where} --help`.")
        return MISCONFIGURED
    except click.Abort:
        return tell(KeyboardInterrupt())
    except click.ClickException as error:
        say(error.format_message())
        return FAILED
    except SystemExit:
        raise
    except BaseException as error:
        return tell(error)
    return result if isinstance(result, int) else 0
