"""Where /manage is: options that stand before or after the subcommand, as people write them."""

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

if TYPE_CHECKING:
    from app.cli.manage_api import ManageApi

BaseUrl = Annotated[
    str | None,
    typer.Option("--manage-api-base-url", help="The server's URL [default: where LISTEN_ADDR says, on this machine]."),
]
ManagementToken = Annotated[
    str | None, typer.Option("--management-token", help="Better in the environment or .env: MANAGEMENT_TOKEN.")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; stands in the audit log.")]
Grace = Annotated[str, typer.Option("--grace", help="How long the old one is kept: 90m, 24h, at most 168h; 0: not.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="How many rows at most [default: all].")]


class Where(Struct, frozen=True):
    base_url: str | None = None
    management_token: str | None = None
    reason: str | None = None


def api(context: typer.Context, base_url: str | None, management_token: str | None) -> "ManageApi":
    """Options of the subcommand win over those of `manage`."""
    from app.cli.manage_api import ManageApi

    outer = context.find_object(Where) or Where()
    return ManageApi(base_url or outer.base_url, management_token or outer.management_token, reason=outer.reason)
