"""The site map of /manage. `manage_routes` is what the server puts into its app.

To add an operation: a function and an Operation in the file of its subject; it is then served, guarded, documented
and fuzzed without another line.
"""

from functools import cache, partial
from itertools import groupby

from starlette.routing import BaseRoute, Route

from admin.api import (
    api_keys,
    audit,
    docs,
    event_bus,
    management_tokens,
    openapi,
    policy,
    prices,
    projects,
    requests,
    tokens,
    usage,
)
from admin.api.endpoint import Endpoint
from admin.api.guard import Guard
from admin.api.operation import ManageDeps, Operation

__all__ = ["OPERATIONS", "ManageDeps", "manage_routes"]

OPERATIONS: tuple[Operation, ...] = (
    *projects.OPERATIONS,
    *api_keys.OPERATIONS,
    *tokens.OPERATIONS,
    *management_tokens.OPERATIONS,
    *policy.OPERATIONS,
    *prices.OPERATIONS,
    *audit.OPERATIONS,
    *requests.OPERATIONS,
    *usage.OPERATIONS,
    *event_bus.OPERATIONS,
    *openapi.OPERATIONS,
    *docs.OPERATIONS,
)


def manage_routes(deps: ManageDeps) -> list[BaseRoute]:
    """Raises ConfigError when TRUSTED_PROXIES cannot be used."""
    guard = Guard(deps)
    describe = cache(partial(openapi.document, OPERATIONS, deps.providers.by_name))
    by_path = groupby(sorted(OPERATIONS, key=_path), key=_path)
    routes = [Route(path, Endpoint(deps, guard, describe, operations)) for path, operations in by_path]
    nowhere = Endpoint(deps, guard, describe, ())
    return [*routes, Route("/manage", nowhere), Route("/manage/{rest:path}", nowhere)]


def _path(operation: Operation) -> str:
    return operation.path
