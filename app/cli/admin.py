"""`llm-proxy admin`: the admin alone."""

import logging
from typing import Annotated

import typer

from app.cli.options import EnvFile, settings_with
from config.logs import log, set_up_logs

logger = logging.getLogger(__name__)


def admin(
    listen: Annotated[
        str | None, typer.Option("--listen", help="Listen here [env: ADMIN_UI_LISTEN_ADDR; default: :8081].")
    ] = None,
    management_token: Annotated[
        str | None, typer.Option("--management-token", help="Better in the environment: MANAGEMENT_TOKEN.")
    ] = None,
    env: EnvFile = None,
) -> None:
    """Serve the admin alone, on the database that the proxy uses.

    \b
    Example:
      llm-proxy admin --listen :8081
    """
    from app.cli import checks
    from app.cli.admin_app import serve

    flags = {"ADMIN_UI_LISTEN_ADDR": listen, "MANAGEMENT_TOKEN": management_token}
    settings = settings_with(flags, env)
    checks.management_token(settings)
    checks.data_folder(settings)
    settings = checks.with_ports(settings)
    _, address = checks.listening(settings)
    checks.free_port("ADMIN_UI_LISTEN_ADDR (or --listen)", address)
    set_up_logs(settings, "admin")
    log(logger, logging.INFO, "serving", url=f"{address.url}/admin")
    raise typer.Exit(serve(settings))
