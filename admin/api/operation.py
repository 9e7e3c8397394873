"""The words of the site map: an Operation is one method on one path, a Call is one request to it.

Routes, the guard, methods' 405 and openapi.json are all made from the same Operations, so none of them can differ
from what is served.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from admin.acts.actor import Actor
from admin.acts.management_tokens import Scope
from config.clock import Clock
from config.providers import Providers
from config.settings import Settings
from sql.stores import Stores


class ManageDeps(Struct, frozen=True, kw_only=True):
    stores: Stores
    settings: Settings
    providers: Providers
    clock: Clock


class Call(Struct, frozen=True, kw_only=True):
    """An admitted request."""

    deps: ManageDeps
    actor: Actor
    ids: dict[str, str]
    """What the braces in the path stand for; each a possible id."""
    url_path: str
    query_string: str
    describe: Callable[[], dict[str, Any]]
    """Gives the OpenAPI document of the whole site."""


class Operation(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    summary: str
    act: Callable[..., Awaitable[Response]]
    """Gets the Call, then `body` and `query` if these are declared."""
    status: int = 200
    body: Any = None
    """Struct of the JSON body; None: a body is not looked at."""
    query: Any = None
    """Struct of the query; None: none is allowed."""
    answer: Any = None
    """Type of the JSON answer; None: there is none."""
    media_type: str = "application/json"
    audit_action: str = ""
    """Set on what changes something: refused attempts are audited under it."""
    errors: tuple[int, ...] = ()
    """Statuses beyond those that the guard, the path, the body and the query bring with them."""
    is_paged: bool = False
    is_open: bool = False
    """Served without a token: only what tells nothing of this installation."""
    is_closed: bool = False
    """For MANAGEMENT_TOKEN alone, whatever it does."""
    scope: Scope | None = None
    """What a management token needs for it; see `needs`."""

    @property
    def needs(self) -> Scope | None:
        """Reading needs `read` unless it says otherwise. A change that says nothing is for MANAGEMENT_TOKEN alone."""
        return self.scope or ("read" if self.method == "GET" and not self.is_closed else None)


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, headers=headers, media_type="application/json")
