"""`llm-proxy manage management-tokens ...`: programs that may manage, each with its scopes."""

from typing import Annotated
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.manage_options import BaseUrl, Grace, Limit, ManagementToken, api
from app.cli.options import AsJson

_COLUMNS = ("id", "name", "token", "scopes", "is_active", "expires_at", "last_used_at")
_PATH = "/manage/management-tokens"
management_tokens = typer.Typer(
    help="Tokens for programs that manage, each with its scopes.", no_args_is_help=True, rich_markup_mode=None
)

TokenId = Annotated[str, typer.Argument(help="The management token's id, never the token itself.")]


@management_tokens.command("list")
def list_management_tokens(
    context: typer.Context,
    limit: Limit = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """List management tokens, newest first, also those that have ended.

    \b
    Example:
      llm-proxy manage management-tokens list --json
    """
    rows = list(api(context, base_url, management_token).rows(_PATH, {}, limit))
    if as_json:
        output.as_json(rows)
    else:
        output.table(rows, _COLUMNS)


@management_tokens.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="Unique; the audit log shows it.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", help="read, projects, tokens, audit or pipeline; give it once for each.")
    ],
    duration: Annotated[
        int | None, typer.Option("--duration", min=1, help="Minutes, at most 525600 (a year) [default: for ever].")
    ] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Create a management token and print it, this once. Needs MANAGEMENT_TOKEN itself.

    \b
    Example:
      llm-proxy manage management-tokens create --name ci --scope read --scope tokens
    """
    body = {"name": name, "scopes": scopes, "duration_minutes": duration}
    output.row(api(context, base_url, management_token).call("POST", _PATH, body), as_json)


@management_tokens.command()
def rotate(
    context: typer.Context,
    token_id: TokenId,
    grace: Grace = "24h",
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Give a management token another secret and print it, this once; the old one works until the grace ends.

    \b
    Example:
      llm-proxy manage management-tokens rotate 0198c0de-... --grace 1h
    """
    path = f"{_PATH}/{quote(token_id, safe='')}/rotate"
    output.row(api(context, base_url, management_token).call("POST", path, {"grace": grace}), as_json)


@management_tokens.command()
def revoke(
    context: typer.Context,
    token_id: TokenId,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Revoke a management token, for good and at once.

    \b
    Example:
      llm-proxy manage management-tokens revoke 0198c0de-...
    """
    api(context, base_url, management_token).call("DELETE", f"{_PATH}/{quote(token_id, safe='')}")
    output.row({"id": token_id, "is_active": False}, as_json)
