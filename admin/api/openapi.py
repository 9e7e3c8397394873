"""/manage/openapi.json: OpenAPI 3.1, made from the Operations and the Structs that they decode and answer with."""

import re
from collections.abc import Collection, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.responses import Response

from admin.api.errors import ErrorBody
from admin.api.operation import Call, Operation, answer
from config.policy import Policy

Schemas = dict[int, dict[str, Any]]
"""By the id of the type: one with a Meta cannot be hashed."""

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_BRACES = re.compile(r"{(\w+)}")
_ID_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}
_TOKENS = "MANAGEMENT_TOKEN, or a management token with the scope that the operation names."
_REASON = {
    "name": "X-Audit-Reason",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Why; stands in the audit log.",
}
_DESCRIPTIONS = {
    200: "OK",
    201: "Created",
    204: "Done",
    400: "The body is not JSON.",
    401: "The management token is missing or wrong.",
    403: "This token lacks the scope, or the project is inactive.",
    404: "There is no such thing.",
    405: "This method is not allowed here; Allow names those that are.",
    408: "The body took too long to arrive.",
    409: "Another one has this value, or it was changed meanwhile.",
    413: "The body is larger than 1 MiB.",
    422: "Well-formed, but these values cannot be; `fields` says which and why.",
    429: "Too many requests, or too many wrong tokens, from this address; Retry-After says how long to wait.",
    500: "Our fault; the log has it under the x-request-id.",
    503: "The database or the event bus is away; Retry-After says when to ask again.",
}


async def show_openapi(call: Call) -> Response:
    return answer(call.describe())


def document(operations: Sequence[Operation], providers: Collection[str]) -> dict[str, Any]:
    """`providers` are the names that an API key or a price may be for."""
    operations = [operation for operation in operations if operation.status != 405]
    schemas, components = _schemas(operations)
    for name in ("NewApiKey", "NewPrice"):
        components[name]["properties"]["provider"]["enum"] = sorted(providers)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llm-proxy management API",
            "version": version("llm-proxy"),
            "description": "Projects, their API keys and tokens, policy, audit log, requests, ledger and dead letters.",
        },
        "security": [{"managementToken": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"managementToken": {"type": "http", "scheme": "bearer", "description": _TOKENS}},
        },
    }


def statuses(operation: Operation) -> list[int]:
    """Every status that this operation may answer with; 422 always, for a parameter that nothing knows."""
    found = {operation.status, 422, 429, 500, *operation.errors}
    found |= set() if operation.is_open else {401, 403, 503}
    found |= {404} if _BRACES.search(operation.path) else set()
    found |= {400, 408, 413} if operation.body is not None else set()
    return sorted(found)


def _schemas(operations: Sequence[Operation]) -> tuple[Schemas, dict[str, Any]]:
    types: list[Any] = [ErrorBody, Policy]  # the policy's document is kept as it was written, so no operation names it
    for operation in operations:
        types += [kind for kind in (operation.body, operation.query, operation.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(zip(map(id, types), schemas, strict=True)), components


def _describe(operation: Operation, schemas: Schemas, components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.act.__name__,
        "responses": {str(status): _response(status, operation, schemas) for status in statuses(operation)},
    }
    parameters = _parameters(operation, schemas, components)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {_JSON: {"schema": schemas[id(operation.body)]}}}
    if operation.is_open:
        described["security"] = []
    elif operation.needs:
        described["security"] = [{"managementToken": [operation.needs]}]
    return described


def _parameters(operation: Operation, schemas: Schemas, components: dict[str, Any]) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _ID_SCHEMA} for name in _BRACES.findall(operation.path)
    ]
    in_path += [_REASON] if operation.audit_action else []
    if operation.query is None:
        return in_path
    name = schemas[id(operation.query)]["$ref"].rpartition("/")[2]
    properties, required = components[name]["properties"], components[name].get("required", [])
    in_query = [_query_parameter(name, schema) for name, schema in properties.items()]
    return in_path + [{**each, "required": True} if each["name"] in required else each for each in in_query]


def _query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out instead of being null, so that null is not offered."""
    kept = [choice for choice in schema.get("anyOf", [schema]) if choice != {"type": "null"}]
    schema = dict(kept[0]) if len(kept) == 1 else {"anyOf": kept}
    if schema.get("default", 0) is None:
        del schema["default"]
    parameter = {"name": name, "in": "query", "schema": schema}
    description = schema.pop("description", "")
    return {**parameter, "description": description} if description else parameter


def _response(status: int, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _DESCRIPTIONS[status]}
    if status >= 400:
        response["content"] = {_JSON: {"schema": schemas[id(ErrorBody)]}}
    elif operation.answer is not None:
        response["content"] = {_JSON: {"schema": schemas[id(operation.answer)]}}
    elif status != 204:
        response["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    headers = _headers(status, operation)
    return {**response, "headers": headers} if headers else response


def _headers(status: int, operation: Operation) -> dict[str, Any]:
    names = {401: ["WWW-Authenticate"], 405: ["Allow"], 429: ["Retry-After"], 503: ["Retry-After"], 201: ["Location"]}
    found = names.get(status, []) + (["Link", "x-next-cursor"] if status == 200 and operation.is_paged else [])
    return {name: {"schema": {"type": "string"}} for name in found}


OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/openapi.json",
        summary="This description",
        act=show_openapi,
        answer=dict[str, Any],
        is_open=True,
    ),
)
