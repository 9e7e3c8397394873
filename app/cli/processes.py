"""The hidden commands: what the supervisor starts, as `python -m app.cli.main _proxy <pid of the supervisor> ...`.

Settings come through the environment. Exit code 2 means: this configuration cannot be used, do not start me again.
Each function imports what its process needs: the supervisor, which starts first and stays, not even asyncio.
"""

from collections.abc import Callable, Sequence

from app.cli.failures import tell
from config.errors import ConfigError
from config.load import load_settings
from config.logs import set_up_logs
from config.settings import Settings


def run_process(name: str, arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    try:
        settings = load_settings()
        if name == "_supervise":
            return _supervise(settings, arguments)
        parent, *options = arguments
        from app.children import die_with_parent

        die_with_parent(int(parent))
        set_up_logs(settings, name.removeprefix("_"))
        return _PROCESSES[name](settings, options)
    except SystemExit:
        raise
    except BaseException as error:
        return tell(error)


def _supervise(settings: Settings, parts: Sequence[str]) -> int:
    from app.cli.plan import children, environment_for_children
    from app.lock import only_server
    from app.supervisor import Supervisor

    set_up_logs(settings, "server")
    with only_server(settings):
        specs = children(settings, parts)
        return Supervisor(specs, environment_for_children(settings), settings.drain_s).run()


def _proxy(settings: Settings, options: Sequence[str]) -> int:
    from app.cli.proxy import serve

    return serve(settings)


def _keeper(settings: Settings, options: Sequence[str]) -> int:
    import uvloop

    from app.cli.keeper import keep
    from app.precedence import step_back

    step_back()
    return uvloop.run(keep(settings, with_dispatcher="--no-dispatcher" not in options))


def _limits(settings: Settings, options: Sequence[str]) -> int:
    import uvloop

    from app.limits.owner import own_until_told
    from config import paths

    uvloop.run(own_until_told(paths.limits_dir(settings), paths.limits_socket(settings)))
    return 0


def _dispatcher(settings: Settings, options: Sequence[str]) -> int:
    import uvloop

    from app.cli.dispatching import dispatch
    from app.precedence import step_back

    step_back()
    return uvloop.run(dispatch(settings, is_child=True))


def _admin(settings: Settings, options: Sequence[str]) -> int:
    from app.cli.admin_app import serve

    return serve(settings)


def _schema(settings: Settings, options: Sequence[str]) -> int:
    import asyncio

    from app.cli.schema import prepare_when_it_answers
    from sql.errors import SchemaMismatch

    try:
        asyncio.run(prepare_when_it_answers(settings))
    except SchemaMismatch as error:
        raise ConfigError([str(error)]) from error
    return 0


def _demo(settings: Settings, options: Sequence[str]) -> int:
    import asyncio

    from app.cli.demo_run import run_demo

    return asyncio.run(run_demo(settings, with_admin="--no-admin" not in options, with_traffic="--traffic" in options))


def _metrics(settings: Settings, options: Sequence[str]) -> int:
    import asyncio

    from app.cli.in_process import serve_app
    from app.metrics_routes import metrics_app
    from config.addresses import parse

    address = parse(settings.metrics_addr, "METRICS_ADDR")
    return asyncio.run(serve_app(metrics_app(settings), address))


_PROCESSES: dict[str, Callable[[Settings, Sequence[str]], int]] = {
    "_proxy": _proxy,
    "_keeper": _keeper,
    "_limits": _limits,
    "_dispatcher": _dispatcher,
    "_admin": _admin,
    "_schema": _schema,
    "_demo": _demo,
    "_metrics": _metrics,
}
