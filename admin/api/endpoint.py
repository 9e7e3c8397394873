"""One path of /manage as an ASGI object: admit, authenticate, find the method, permit, read, act, answer.

address -> 429 | token -> 401 | method -> 405 | scope -> 403 | ids -> 404 | query, body -> 422, 400, 413 | act -> 201
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from admin.acts.actor import Actor, Target, record_refusal
from admin.acts.errors import ActError
from admin.api.errors import ApiError, render
from admin.api.guard import Guard
from admin.api.operation import Call, ManageDeps, Operation
from admin.api.reading import read_body, read_ids, read_query
from config.ids import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}\Z")
_NOBODY = "anonymous"
_MAX_REASON_CHARS = 512


class Endpoint:
    def __init__(
        self, deps: ManageDeps, guard: Guard, describe: Callable[[], dict[str, Any]], operations: Iterable[Operation]
    ) -> None:
        """`operations` are this path's; none at all is an unknown path."""
        self._deps = deps
        self._guard = guard
        self._describe = describe
        self._operations = {operation.method: operation for operation in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        actor = self._actor(request)
        try:
            response = await self._answer(request, actor)
        except ClientDisconnect:
            return
        except Exception as error:
            response = render(error)
        response.headers["x-request-id"] = actor.request_id or ""
        response.headers["x-llm-proxy-request-id"] = actor.request_id or ""  # as on every reply of the proxy
        response.headers.setdefault("cache-control", "no-store")
        response.headers["x-content-type-options"] = "nosniff"
        if request.method == "HEAD":
            response.body = b""  # Content-Length stays what GET would say
        await response(scope, receive, send)

    async def _answer(self, request: Request, actor: Actor) -> Response:
        operation = self._operations.get("GET" if request.method == "HEAD" else request.method)
        self._guard.admit(actor.client_ip or "")
        caller = None
        if operation is None or not operation.is_open:
            caller = await self._guard.authenticate(request, actor)
            actor = replace(actor, name=caller.name)
        if not self._operations:
            raise ApiError(404, "not_found", "there is nothing at this path; see /manage/docs")
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allow()})
        if operation is None:
            raise ApiError(405, "method_not_allowed", "method not allowed", headers={"Allow": self._allow()})
        if caller is not None:
            await self._guard.permit(caller, actor, operation)
        return await self._act(operation, request, actor)

    async def _act(self, operation: Operation, request: Request, actor: Actor) -> Response:
        call = Call(
            deps=self._deps,
            actor=actor,
            ids=read_ids(request),
            url_path=request.url.path,
            query_string=request.url.query,
            describe=self._describe,
        )
        query = read_query(request, operation.query)
        given = {} if operation.query is None else {"query": query}
        if operation.body is not None:
            given["body"] = await read_body(request, operation.body)
        try:
            return await operation.act(call, **given)
        except ActError as error:
            if operation.audit_action:
                await self._record_failure(operation, call, error)
            raise

    async def _record_failure(self, operation: Operation, call: Call, error: ActError) -> None:
        target = Target(
            kind=operation.audit_action.partition(".")[0], id=list(call.ids.values())[-1] if call.ids else ""
        )
        await record_refusal(
            self._deps.stores,
            self._deps.clock,
            call.actor,
            operation.audit_action,
            target,
            outcome="failure",
            reason=str(error),
        )

    def _actor(self, request: Request) -> Actor:
        asked = request.headers.get("x-request-id") or request.headers.get("x-correlation-id") or ""
        return Actor(
            name=_NOBODY,
            client_ip=self._guard.address(request),
            user_agent=request.headers.get("user-agent"),
            request_id=asked if _REQUEST_ID.match(asked) else new_id(),
            method=request.method,
            path=request.url.path,
            reason=_reason(request),
        )

    def _allow(self) -> str:
        methods = [m for operation in self._operations.values() for m in _methods(operation) if operation.status != 405]
        return ", ".join([*methods, "OPTIONS"])


def _reason(request: Request) -> str | None:
    """Why it is done, as the caller says it: UTF-8, as people write it."""
    said = request.headers.get("x-audit-reason", "").encode("latin-1").decode(errors="replace").strip()
    return said[:_MAX_REASON_CHARS] or None


def _methods(operation: Operation) -> list[str]:
    return ["GET", "HEAD"] if operation.method == "GET" else [operation.method]
