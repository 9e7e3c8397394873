"""`llm-proxy manage`: projects and tokens of a running server, by its /manage."""

import typer

from app.cli.manage_api_keys import api_key
from app.cli.manage_management_tokens import management_tokens
from app.cli.manage_options import BaseUrl, ManagementToken, Reason, Where
from app.cli.manage_policy import policy
from app.cli.manage_prices import prices
from app.cli.manage_projects import project
from app.cli.manage_tokens import token
from app.cli.manage_usage import usage

manage = typer.Typer(help="Projects and tokens of a running server.", no_args_is_help=True, rich_markup_mode=None)
manage.add_typer(project, name="project")
manage.add_typer(token, name="token")
manage.add_typer(api_key, name="api-key")
manage.add_typer(management_tokens, name="management-tokens")
manage.add_typer(policy, name="policy")
manage.add_typer(prices, name="prices")
manage.command()(usage)


@manage.callback()
def where(
    context: typer.Context,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
    reason: Reason = None,
) -> None:
    """Projects and tokens of a running server.

    \b
    Examples:
      llm-proxy manage project create --name shop --openai-key sk-...
      llm-proxy manage token create --project-id ID --duration 1440
      llm-proxy manage --reason "left the company" token revoke ID
      llm-proxy manage --manage-api-base-url https://llm.example.com project list --json
    """
    context.obj = Where(base_url, management_token, reason)
