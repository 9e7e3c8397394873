"""The front door of a worker: what is the proxy's goes straight to it, everything else through Starlette's routes.

Routes are tried one after the other, and /manage has many: for the proxy's own path that would cost four times the look
at one segment that is taken here.
"""

from typing import Any, Final

from starlette.applications import Starlette

from app.endpoint import Endpoint
from app.reply import Send
from app.request_body import Receive
from config.providers import RESERVED_NAMES

_NOT_THE_PROXYS: Final = RESERVED_NAMES - {"v1"}  # names that no provider can have


class Front:
    """An ASGI app. `endpoint` is set in the lifespan, before the first request."""

    def __init__(self, site: Starlette, metrics_path: str) -> None:
        self._site = site
        self._others = _NOT_THE_PROXYS | {_first_segment(metrics_path)}
        self.endpoint: Endpoint | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if self.endpoint is not None and scope["type"] == "http" and _first_segment(scope["path"]) not in self._others:
            await self.endpoint(scope, receive, send)
        else:
            await self._site(scope, receive, send)


def _first_segment(path: str) -> str:
    end = path.find("/", 1)
    return path[1:] if end < 0 else path[1:end]
