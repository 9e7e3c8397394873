"""`llm-proxy dispatcher`: delivers events to the backends, where the bus can be shared between processes."""

from typing import Annotated

import typer

from app.cli.options import EnvFile, settings_with
from config.checks import is_bus_shared
from config.errors import ConfigError
from config.logs import set_up_logs


def dispatcher(
    env: EnvFile = None,
    backends: Annotated[
        str | None, typer.Option("--backends", help="Where events go, e.g. database,file [env: DISPATCHER_BACKENDS].")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option("--listen", help="Serve /live, /ready and /metrics here [env: DISPATCHER_LISTEN_ADDR]."),
    ] = None,
) -> None:
    """Deliver events to the backends, in a process (or fleet) of its own.

    With the embedded bus there is nothing to start: the keeper inside `llm-proxy server` delivers.

    \b
    Examples:
      llm-proxy dispatcher --backends database,file
      llm-proxy dispatcher --listen :9090
    """
    flags = {"DISPATCHER_BACKENDS": backends, "DISPATCHER_LISTEN_ADDR": listen}
    settings = settings_with(flags, env)  # what cannot be used is told first
    if not is_bus_shared(settings):
        raise ConfigError(
            [
                "the embedded bus is one file with one owner, the keeper of `llm-proxy server`, which delivers as "
                "well; a separate dispatcher needs Redis"
            ]
        )
    import uvloop

    from app.cli.dispatching import dispatch

    set_up_logs(settings, "dispatcher")
    raise typer.Exit(uvloop.run(dispatch(settings)))
