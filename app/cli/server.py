"""`llm-proxy server`: checks everything that can be checked, brings the schema up, then becomes the supervisor.

It becomes it by exec, so that the process which stays for months holds nothing of what the checks needed.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import DbPath, EnvFile, settings_with
from config.addresses import parse
from config.settings import Settings


def server(
    addr: Annotated[str | None, typer.Option("--addr", help="Listen here [env: LISTEN_ADDR; default: :8080].")] = None,
    env: EnvFile = None,
    db: DbPath = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Databases and spool [env: DATA_DIR; default: ./data].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="The providers file [env: API_CONFIG_PATH].")
    ] = None,
    file_event_log: Annotated[
        Path | None, typer.Option("--file-event-log", help="Also write events as JSONL [env: FILE_EVENT_LOG].")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Proxy processes [env: LLM_PROXY_WORKERS].")
    ] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")] = None,
    debug: Annotated[bool, typer.Option("-v", "--debug", help="Same as --log-level debug.")] = False,
    admin: Annotated[bool, typer.Option("--admin/--no-admin", help="Serve the admin.")] = True,
    keeper: Annotated[bool, typer.Option("--keeper/--no-keeper", help="Move events from the spool to the bus.")] = True,
    dispatcher: Annotated[
        bool, typer.Option("--dispatcher/--no-dispatcher", help="Deliver events to the backends.")
    ] = True,
    demo: Annotated[
        bool, typer.Option("--demo", help="Data in ./.run, a built-in provider when no key is set, demo traffic.")
    ] = False,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="With --demo: without its traffic.")] = False,
) -> None:
    """Serve the proxy, /manage and the admin, and keep their records.

    \b
    Examples:
      llm-proxy server
      llm-proxy server --addr 127.0.0.1:8080 --workers 4
      llm-proxy server --no-admin -c providers.yaml
      llm-proxy server --demo
    """
    flags = {
        "LISTEN_ADDR": addr,
        "DATABASE_PATH": db,
        "DATA_DIR": data_dir,
        "API_CONFIG_PATH": config,
        "FILE_EVENT_LOG": file_event_log,
        "LLM_PROXY_WORKERS": workers,
        "LOG_LEVEL": "debug" if debug else log_level,
    }
    parts = [name for name, wanted in (("admin", admin), ("keeper", keeper), ("dispatcher", dispatcher)) if wanted]
    if demo:
        from app.cli.demo_start import prepare_demo

        settings, more = prepare_demo(flags, env, with_traffic=not no_demo)
        parts += more
    else:
        settings = _checked(settings_with(flags, env), parts)
        parts += prepare_schema(settings)
    become_supervisor(settings, parts)


def prepare_schema(settings: Settings) -> list[str]:
    """The part `schema` when the database does not answer: a child then goes on asking. Raises SchemaMismatch."""
    from app.cli.failures import say
    from app.cli.schema import prepare
    from sql.errors import StoreFull, StoreUnavailable

    try:
        asyncio.run(prepare(settings))
    except StoreFull:
        raise
    except StoreUnavailable as error:
        say(f"{error}; starting without it, /ready says 503 until it answers")
        return ["schema"]
    return []


def become_supervisor(settings: Settings, parts: list[str]) -> None:
    """Does not return."""
    from app.cli.plan import environment_for_children, self_command

    sys.stdout.flush()
    argv = self_command("_supervise", *parts)
    os.execve(argv[0], argv, environment_for_children(settings))  # noqa: S606  # our own program, no shell


def _checked(settings: Settings, parts: list[str]) -> Settings:
    from app.cli import checks

    settings = checks.with_ports(settings)
    checks.configuration(settings)
    checks.data_folder(settings)
    proxy, admin = checks.listening(settings)
    checks.free_port("LISTEN_ADDR (or --addr)", proxy)
    if "admin" in parts:
        checks.free_port("ADMIN_UI_LISTEN_ADDR (or --no-admin)", admin)
    if settings.metrics_addr:
        checks.free_port("METRICS_ADDR", parse(settings.metrics_addr, "METRICS_ADDR"))
    if settings.dispatcher_listen_addr and "dispatcher" in parts:
        checks.free_port("DISPATCHER_LISTEN_ADDR", parse(settings.dispatcher_listen_addr, "DISPATCHER_LISTEN_ADDR"))
    return settings
