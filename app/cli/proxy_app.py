"""The app of one proxy worker, composed: the proxy and, beside it, /manage."""

import atexit
import multiprocessing.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.children import die_with_parent
from app.cli.failures import tell
from config.errors import ConfigError
from config.load import load_settings
from config.logs import set_up_logs
from config.settings import Settings

if TYPE_CHECKING:
    from app.front import Front


def load() -> "Front":
    """Granian calls it in each worker it forks. Exits with 2 when the configuration cannot be used."""
    die_with_parent()
    multiprocessing.util.Finalize(
        None, atexit._run_exitfuncs, exitpriority=1
    )  # forked processes skip atexit: last log lines
    try:
        settings = load_settings()
        set_up_logs(settings, "proxy")
        return compose(settings)
    except ConfigError as error:
        sys.exit(tell(error))


def compose(settings: Settings) -> "Front":
    """Raises ConfigError."""
    from starlette.routing import BaseRoute

    from admin.api.routes import ManageDeps, manage_routes
    from app.main import build_app, providers_of
    from config.clock import SystemClock
    from sql.stores import Stores

    providers = providers_of(settings)

    def manage(stores: Stores) -> Sequence[BaseRoute]:
        deps = ManageDeps(stores=stores, settings=settings, providers=providers, clock=SystemClock())
        return manage_routes(deps)

    return build_app(settings, extra_routes=manage)
