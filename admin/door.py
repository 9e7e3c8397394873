"""How a page is reached and how it may fail: session, forged forms and errors, the same for every route."""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from admin import htmx
from admin.acts.errors import NotFound
from admin.errors import (
    MISHAPS,
    SCHEMA_MISMATCH,
    STORE_FULL,
    ForgedForm,
    FormUnreadable,
    Mishap,
    NotSignedIn,
    PageNotFound,
)
from admin.parts import Parts
from admin.visit import Visit
from config.logs import log
from sql.errors import SchemaMismatch, StoreFull, StoreUnavailable

Page = Callable[[Visit], Awaitable[Response]]
SIGN_IN: Final = "/admin/sign-in"
_FORGED: Final = "the form was not ours, or of another session"
_logger = logging.getLogger("admin")


class Door:
    """Makes routes of pages."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def page(self, path: str, page: Page) -> Route:
        return self._route(path, page, "GET", needs_session=True)

    def change(self, path: str, page: Page) -> Route:
        return self._route(path, page, "POST", needs_session=True)

    def public_page(self, path: str, page: Page) -> Route:
        return self._route(path, page, "GET", needs_session=False)

    def public_change(self, path: str, page: Page) -> Route:
        return self._route(path, page, "POST", needs_session=False)

    async def refuse(self, request: Request, error: Exception) -> Response:
        """For what no page was found for: 404 and 405."""
        visit = Visit(self._parts, request)
        # Without a database the error page goes without the menu.
        with contextlib.suppress(StoreUnavailable):
            await visit.look_up_session()
        return _failed(visit, error)

    def _route(self, path: str, page: Page, method: str, *, needs_session: bool) -> Route:
        async def endpoint(request: Request) -> Response:
            visit = Visit(self._parts, request)
            try:
                await visit.enter(needs_session=needs_session)
                return await page(visit)
            except ForgedForm as error:
                await self._parts.refusals.record(self._parts.stores, visit.actor(), "admin.change", _FORGED)
                return _failed(visit, error)
            except Exception as error:
                return _failed(visit, error)

        return Route(path, endpoint, methods=[method])


def _failed(visit: Visit, error: Exception) -> Response:
    if isinstance(error, NotSignedIn):
        return _to_sign_in(visit.request)
    mishap = _mishap(error)
    if mishap.status == 500:
        path = visit.request.url.path
        _logger.error("page failed", exc_info=error, extra={"fields": {"request_id": visit.request_id, "path": path}})
    elif mishap.status == 503:
        log(_logger, logging.WARNING, "store unavailable", request_id=visit.request_id, reason=str(error))
    if htmx.is_partial(visit.request):
        response = Response(status_code=mishap.status)
        htmx.keep_target(response)
        htmx.toast(response, "error", f"{mishap.title}. Request id {visit.request_id}")
        return response
    return visit.show("error.html", status=mishap.status, mishap=mishap)


def _mishap(error: Exception) -> Mishap:
    match error:
        case PageNotFound() | NotFound():
            return MISHAPS[404]
        case ForgedForm():
            return MISHAPS[403]
        case FormUnreadable():
            return MISHAPS[error.status]
        case SchemaMismatch():
            return SCHEMA_MISMATCH
        case StoreFull():
            return STORE_FULL
        case StoreUnavailable():
            return MISHAPS[503]
        case HTTPException():
            return MISHAPS.get(error.status_code, replace(MISHAPS[400], status=error.status_code))
        case _:
            return MISHAPS[500]


def _to_sign_in(request: Request) -> Response:
    """Back to the same page afterwards, when it was one that can be asked for again."""
    if "hx-request" in request.headers:
        response = htmx.redirect(SIGN_IN)
        response.status_code = 401
        return response
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    url = f"{SIGN_IN}?next={quote(wanted, safe='')}" if request.method == "GET" else SIGN_IN
    return RedirectResponse(url, status_code=303)
