"""`llm-proxy dispatcher`: delivers events to the backends, where the bus can be shared between processes."""

from typing import Annotated

import typer

from app.cli.options import EnvFile, settings_with
from config.errors import ConfigError


def dispatcher(
    env: EnvFile = None,
    backends: Annotated[
        str | None, typer.Option("--backends", help="Where events go, e.g. database,file [env: DISPATCHER_BACKENDS].")
    ] = None,
) -> None:
    """Deliver events to the backends, in a process (or fleet) of its own.

    With the embedded bus there is nothing to start: the keeper inside `llm-proxy server` delivers.

    \b
    Example:
      llm-proxy dispatcher --backends database,file
    """
    settings_with({"DISPATCHER_BACKENDS": backends}, env)  # what cannot be used is told first
    raise ConfigError(
        [
            "the embedded bus is one file with one owner, the keeper of `llm-proxy server`, which delivers as well; "
            "a separate dispatcher needs Redis"
        ]
    )
