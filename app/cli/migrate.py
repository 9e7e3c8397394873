"""`llm-proxy migrate`: the database's schema, up, down and how it stands."""

from typing import Annotated

import typer

from app.cli import output
from app.cli.on_stores import on_stores
from app.cli.options import AsJson, DbPath, EnvFile

migrate = typer.Typer(
    help="Bring the database's schema up, take it back, or show how it stands.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@migrate.command()
def up(db: DbPath = None, env: EnvFile = None, as_json: AsJson = False) -> None:
    """Apply what is pending. Safe to run twice, and from several machines at once.

    \b
    Example:
      llm-proxy migrate up
    """
    from sql import migrate as schema

    _told(on_stores(schema.up, db, env), "applied", as_json)


@migrate.command()
def down(
    to: Annotated[int, typer.Option("--to", min=0, help="Take back every migration above this number; 0 empties it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    db: DbPath = None,
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Take migrations back, newest first. What was in their tables is lost.

    \b
    Example:
      llm-proxy migrate down --to 3
    """
    from sql import migrate as schema

    if not yes:
        typer.confirm(f"Take back every migration above {to}? The data of their tables is lost.", abort=True)
    _told(on_stores(lambda stores: schema.down(stores, to), db, env), "taken back", as_json)


@migrate.command()
def status(db: DbPath = None, env: EnvFile = None, as_json: AsJson = False) -> None:
    """Show every migration and whether it has been applied. Exit code 1 when the schema does not fit.

    \b
    Example:
      llm-proxy migrate status --json
    """
    from sql import migrate as schema

    rows = on_stores(schema.status, db, env)
    views = [
        {
            "version": row.version,
            "name": row.name,
            "set": row.set,
            "applied_at_ms": row.applied_at_ms,
            "problem": row.problem,
        }
        for row in rows
    ]
    if as_json:
        output.as_json(views)
    else:
        output.table(
            [
                {**view, "state": view["problem"] or ("applied" if view["applied_at_ms"] else "pending")}
                for view in views
            ],
            ("version", "name", "set", "state"),
        )
    if any(row.problem or row.applied_at_ms is None for row in rows):
        raise typer.Exit(1)


@migrate.command()
def version(db: DbPath = None, env: EnvFile = None, as_json: AsJson = False) -> None:
    """Print the number of the newest applied migration; 0 is an empty database.

    \b
    Example:
      llm-proxy migrate version
    """
    from sql import migrate as schema

    rows = on_stores(schema.status, db, env)
    newest = max((row.version for row in rows if row.applied_at_ms is not None), default=0)
    if as_json:
        output.as_json({"version": newest})
    else:
        output.say(str(newest))


def _told(names: list[str], verb: str, as_json: bool) -> None:
    if as_json:
        output.as_json({verb.replace(" ", "_"): names})
        return
    for name in names:
        output.say(f"{verb} {name}")
    if not names:
        output.say("nothing to do")
