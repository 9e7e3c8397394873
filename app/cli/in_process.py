"""Granian in this very process, on one loop: the admin and the demo provider, which need no workers of their own."""

from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import ASGIApp

from config.addresses import Address
from config.ending import when_told_to_end

# Granian's limit for a request's head is also its keep-alive time. It has to outlast a load balancer's idle time
# (600 s on an ALB), else the balancer reuses a connection that is just being closed, and its client gets a 502.
HEADER_READ_MS: Final = 650_000
BACKLOG: Final = 4096

# Granian's own lines go where ours go.
LOGS: Final[dict[str, Any]] = {"loggers": {"_granian": {"handlers": [], "propagate": True}}}


def server_for(app: ASGIApp, address: Address) -> Server:
    return Server(
        app,
        address=address.host,
        port=address.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_READ_MS),
        websockets=False,
        backlog=BACKLOG,
        log_level=LogLevels.error,  # at `warning` it tells at each start that it is experimental
        log_dictconfig=LOGS,
    )


async def serve_app(app: ASGIApp, address: Address) -> int:
    """Until SIGTERM or SIGINT; requests that run then are answered. Returns 1 when the app did not start."""
    server = server_for(app, address)
    when_told_to_end(server.stop)
    await server.serve()
    return 1 if server.interrupt_children else 0
