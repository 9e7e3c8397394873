"""`llm-proxy manage api-key ...`: the providers' keys of a project."""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.manage_options import BaseUrl, Grace, ManagementToken, api
from app.cli.options import AsJson

_COLUMNS = ("id", "provider", "key", "weight", "created_at", "replaced_by", "retires_at")
api_key = typer.Typer(help="List and rotate a project's API keys.", no_args_is_help=True, rich_markup_mode=None)

ProjectId = Annotated[str, typer.Option("--project-id", help="The project that holds the key.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, see `list`.")]


@api_key.command("list")
def list_api_keys(
    context: typer.Context,
    project_id: ProjectId,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """List a project's API keys; of each only enough to recognise it.

    \b
    Example:
      llm-proxy manage api-key list --project-id ID
    """
    rows = api(context, base_url, management_token).call("GET", _path(project_id))
    if as_json:
        output.as_json(rows)
    else:
        output.table(rows, _COLUMNS)


@api_key.command()
def rotate(
    context: typer.Context,
    key_id: KeyId,
    project_id: ProjectId,
    key: Annotated[str, typer.Option("--key", help="The new key; - reads it from stdin.")] = "-",
    grace: Grace = "24h",
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Put another key in the place of one, at once; the old one is kept, unused, until the grace ends.

    \b
    Example:
      echo "$NEW_KEY" | llm-proxy manage api-key rotate 0198c0de-... --project-id ID --grace 72h
    """
    body = {"key": sys.stdin.readline().strip() if key == "-" else key, "grace": grace}
    path = f"{_path(project_id, key_id)}/rotate"
    output.row(api(context, base_url, management_token).call("POST", path, body), as_json)


@api_key.command("undo-rotation")
def undo_rotation(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The new key's id.")],
    project_id: ProjectId,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Delete a key and give its place back to the one that it has replaced.

    \b
    Example:
      llm-proxy manage api-key undo-rotation 0198c0de-... --project-id ID
    """
    path = f"{_path(project_id, key_id)}/undo-rotation"
    output.row(api(context, base_url, management_token).call("POST", path), as_json)


def _path(project_id: str, key_id: str | None = None) -> str:
    keys = f"/manage/projects/{quote(project_id, safe='')}/api_keys"
    return keys if key_id is None else f"{keys}/{quote(key_id, safe='')}"
