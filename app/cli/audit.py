"""`llm-proxy audit`: whether the audit log is whole."""

from typing import TYPE_CHECKING

import typer

from app.cli import output
from app.cli.on_stores import on_stores
from app.cli.options import AsJson, DbPath, EnvFile

if TYPE_CHECKING:
    from sql.stores import Stores

audit = typer.Typer(
    help="Check the audit log, which is a chain of hashes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@audit.callback()
def root() -> None:
    """Keeps `verify` a command of its own, as long as there is no other."""


@audit.command()
def verify(db: DbPath = None, env: EnvFile = None, as_json: AsJson = False) -> None:
    """Find the first row that was altered, removed or put elsewhere. Exit code 1 when there is one.

    \b
    Example:
      llm-proxy audit verify
    """
    from app.cli.failures import FAILED

    rows, broken_at = on_stores(_verified, db, env)
    if as_json:
        output.as_json({"rows": rows, "broken_at": broken_at})
    elif broken_at is None:
        output.say(f"the audit log is whole: {rows} rows")
    else:
        output.say(f"the audit log is broken at row {broken_at}: it was altered, removed or put elsewhere")
    if broken_at is not None:
        raise typer.Exit(FAILED)


async def _verified(stores: "Stores") -> tuple[int, int | None]:
    """How many rows there are, and the place in the chain that is broken."""
    from sql import migrate
    from sql.repositories import audit as log
    from sql.rows import AuditFilter

    await migrate.check(stores)
    broken_at = await log.verify(stores.main)
    return await log.count(stores.main, AuditFilter()), broken_at
