"""`llm-proxy manage token ...`"""

from typing import Annotated
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.failures import MISCONFIGURED, say
from app.cli.manage_options import BaseUrl, Grace, Limit, ManagementToken, api
from app.cli.options import AsJson

_COLUMNS = ("id", "token", "project_id", "is_active", "expires_at", "request_count", "max_requests", "last_used_at")
_DAY_MINUTES = 1440
token = typer.Typer(help="List, show, create, change and revoke tokens.", no_args_is_help=True, rich_markup_mode=None)

TokenId = Annotated[str, typer.Argument(help="The token's id, never the token itself.")]
ProjectId = Annotated[str | None, typer.Option("--project-id", help="Only this project's.")]
MaxRequests = Annotated[
    int | None, typer.Option("--max-requests", min=0, help="Lifetime quota; 0 is unlimited [default: unlimited].")
]


@token.command("list")
def list_tokens(
    context: typer.Context,
    project_id: ProjectId = None,
    active: Annotated[bool | None, typer.Option("--active/--revoked", help="Only those.")] = None,
    expired: Annotated[bool | None, typer.Option("--expired/--not-expired", help="Only those.")] = None,
    limit: Limit = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """List tokens, newest first. The tokens themselves are not kept; a hint is shown.

    \b
    Example:
      llm-proxy manage token list --project-id ID --active --json
    """
    params = {
        **({"project_id": project_id} if project_id else {}),
        **({"is_active": str(active).lower()} if active is not None else {}),
        **({"is_expired": str(expired).lower()} if expired is not None else {}),
    }
    rows = list(api(context, base_url, management_token).rows("/manage/tokens", params, limit))
    if as_json:
        output.as_json(rows)
    else:
        output.table(rows, _COLUMNS)


@token.command()
def get(
    context: typer.Context,
    token_id: TokenId,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Show one token's state.

    \b
    Example:
      llm-proxy manage token get 0198c0de-...
    """
    output.row(api(context, base_url, management_token).call("GET", _path(token_id)), as_json)


@token.command("generate", hidden=True)
@token.command("create")
def create(
    context: typer.Context,
    project_id: Annotated[str, typer.Option("--project-id", help="The project it is for.")],
    duration: Annotated[
        int, typer.Option("--duration", min=1, help="Minutes until it withers, at most 525600 (a year).")
    ] = _DAY_MINUTES,
    never: Annotated[bool, typer.Option("--never", help="It does not expire.")] = False,
    max_requests: MaxRequests = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Create a token and print it, this once.

    \b
    Example:
      llm-proxy manage token create --project-id ID --duration 60 --max-requests 1000
    """
    body = {
        "project_id": project_id,
        "duration_minutes": None if never else duration,
        **({} if max_requests is None else {"max_requests": max_requests}),
    }
    output.row(api(context, base_url, management_token).call("POST", "/manage/tokens", body), as_json)


@token.command()
def update(
    context: typer.Context,
    token_id: TokenId,
    active: Annotated[bool | None, typer.Option("--active/--revoked", help="Its quota goes on where it was.")] = None,
    max_requests: MaxRequests = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", help="2027-01-31T12:00:00Z, or never.")] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Change a token; what is not given stays.

    \b
    Example:
      llm-proxy manage token update ID --expires-at 2027-01-31T12:00:00Z --max-requests 5000
    """
    body: dict[str, object] = {
        **({} if active is None else {"is_active": active}),
        **({} if max_requests is None else {"max_requests": max_requests}),
        **({} if expires_at is None else {"expires_at": None if expires_at == "never" else expires_at}),
    }
    if not body:
        say("nothing to change: give --active/--revoked, --max-requests or --expires-at")
        raise typer.Exit(MISCONFIGURED)
    path = _path(token_id)
    output.row(api(context, base_url, management_token).call("PATCH", path, body), as_json)


@token.command()
def rotate(
    context: typer.Context,
    token_id: TokenId,
    grace: Grace = "24h",
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Give a token another secret and print it, this once; id, quota and history stay.

    The old secret works until the grace ends.

    \b
    Example:
      llm-proxy manage token rotate 0198c0de-... --grace 72h
    """
    path = f"{_path(token_id)}/rotate"
    output.row(api(context, base_url, management_token).call("POST", path, {"grace": grace}), as_json)


@token.command()
def revoke(
    context: typer.Context,
    token_id: Annotated[str | None, typer.Argument(help="The token's id; or give --project-id.")] = None,
    project_id: Annotated[str | None, typer.Option("--project-id", help="All tokens of this project.")] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Revoke one token, or all of a project. It stops everywhere within a second.

    \b
    Examples:
      llm-proxy manage token revoke 0198c0de-...
      llm-proxy manage token revoke --project-id ID
    """
    if (token_id is None) == (project_id is None):
        say("give a token's id or --project-id, one of the two")
        raise typer.Exit(MISCONFIGURED)
    server = api(context, base_url, management_token)
    if project_id is not None:
        output.row(server.call("POST", f"/manage/projects/{quote(project_id, safe='')}/tokens/revoke"), as_json)
        return
    server.call("DELETE", _path(token_id or ""))
    output.row({"id": token_id, "is_active": False}, as_json)


def _path(token_id: str) -> str:
    return f"/manage/tokens/{quote(token_id, safe='')}"
