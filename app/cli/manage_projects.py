"""`llm-proxy manage project ...`"""

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.failures import MISCONFIGURED, say
from app.cli.manage_options import BaseUrl, Limit, ManagementToken, api
from app.cli.options import AsJson

_COLUMNS = ("id", "name", "is_active", "recording", "api_key", "created_at")
project = typer.Typer(help="List, show, create and change projects.", no_args_is_help=True, rich_markup_mode=None)

Key = Annotated[
    str | None, typer.Option("--openai-key", "--api-key", help="Key of the default provider; - reads it from stdin.")
]
Recording = Annotated[str | None, typer.Option("--recording", help="What is kept of calls: full, metadata or off.")]

OnDisconnect = Annotated[
    str | None,
    typer.Option("--on-disconnect", help="When a client leaves: cancel, or drain to the end to learn what it cost."),
]


@project.command("list")
def list_projects(
    context: typer.Context,
    search: Annotated[str | None, typer.Option("--search", help="Part of the name.")] = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Only those.")] = None,
    limit: Limit = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """List projects by name.

    \b
    Example:
      llm-proxy manage project list --search shop --json
    """
    params = {
        **({"search": search} if search else {}),
        **({"is_active": str(active).lower()} if active is not None else {}),
    }
    rows = list(api(context, base_url, management_token).rows("/manage/projects", params, limit))
    if as_json:
        output.as_json(rows)
    else:
        output.table(rows, _COLUMNS)


@project.command()
def get(
    context: typer.Context,
    project_id: Annotated[str, typer.Argument(help="The project's id.")],
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Show one project.

    \b
    Example:
      llm-proxy manage project get 0198c0de-...
    """
    _show(
        api(context, base_url, management_token).call("GET", f"/manage/projects/{quote(project_id, safe='')}"), as_json
    )


@project.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="Unique.")],
    key: Key = None,
    recording: Recording = None,
    on_disconnect: OnDisconnect = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Create a project.

    \b
    Example:
      llm-proxy manage project create --name shop --openai-key sk-...
    """
    body = _given(name=name, api_key=_key(key), recording=recording, on_disconnect=on_disconnect)
    _show(api(context, base_url, management_token).call("POST", "/manage/projects", body), as_json)


@project.command()
def update(
    context: typer.Context,
    project_id: Annotated[str, typer.Argument(help="The project's id.")],
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    key: Key = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Switch it on or off.")] = None,
    revoke_tokens: Annotated[bool, typer.Option("--revoke-tokens", help="With --inactive: its tokens too.")] = False,
    recording: Recording = None,
    on_disconnect: OnDisconnect = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Change a project; what is not given stays.

    \b
    Examples:
      llm-proxy manage project update ID --inactive --revoke-tokens
      echo "$NEW_KEY" | llm-proxy manage project update ID --openai-key -
    """
    body = _given(
        name=name,
        api_key=_key(key),
        is_active=active,
        recording=recording,
        on_disconnect=on_disconnect,
        revoke_tokens=revoke_tokens or None,
    )
    if not body:
        say("nothing to change: give --name, --openai-key, --active/--inactive, --recording or --on-disconnect")
        raise typer.Exit(MISCONFIGURED)
    path = f"/manage/projects/{quote(project_id, safe='')}"
    _show(api(context, base_url, management_token).call("PATCH", path, body), as_json)


def _show(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.as_json(row)
    else:
        output.fields(row)


def _given(**body: object) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}


def _key(text: str | None) -> str | None:
    """`-` keeps a key out of the shell's history and of `ps`."""
    return sys.stdin.readline().strip() if text == "-" else text
