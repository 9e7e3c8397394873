"""What a caller sent, decoded once: JSON bodies and query strings into Structs, each mistake with the field's name."""

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from admin.api.errors import ApiError, unprocessable

T = TypeVar("T")

MAX_BODY_BYTES = 1024 * 1024
_BODY_TIMEOUT_S = 30  # for at most 1 MiB: a caller slower than that holds a connection for nothing
_AT = re.compile(r"(?P<fault>.*) - at `\$\.?(?P<field>[^`]*)`\Z", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`\Z", re.DOTALL)
_DATE = re.compile(r"\d{4}-")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


async def read_body(request: Request, kind: type[T]) -> T:
    """Content-Type is not looked at. Raises ApiError: 413 too large, 408 too slow, 400 not JSON, 422 not as wanted."""
    raw = await _read_bounded(request)
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiError(400, "invalid_request", f"the body is not JSON: {reason}") from error
    return _convert(_whole(decoded), kind, strict=True)


def read_query(request: Request, kind: type[T] | None) -> T | None:
    """Raises ApiError 422, also for parameters that nothing here knows: a filter must not be silently ignored."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise unprocessable({name: "is given more than once"})
        given[name] = value
    if kind is None:
        if given:
            raise unprocessable(dict.fromkeys(given, "is not a parameter here"))
        return None
    return _as_written(_convert(given, kind, strict=False), given)


def read_ids(request: Request) -> dict[str, str]:
    """The ids in the path. What cannot be an id is not found, without asking the database."""
    ids: dict[str, str] = dict(request.path_params)
    for name, value in ids.items():
        if not _ID.match(value):
            raise ApiError(404, "not_found", f"{name} in the path is no id")
    return ids


def _as_written(query: T, given: Mapping[str, str]) -> T:
    """Refuses what lax reading takes for more than it says: `null` for a filter left out, `5` for a time in 1970."""
    for field in msgspec.structs.fields(query):  # type: ignore[arg-type]
        name, value = field.encode_name, getattr(query, field.name)
        if name in given and value is None:
            raise unprocessable({name: "cannot be null; leave it out"})
        if name in given and isinstance(value, datetime) and not _DATE.match(given[name]):
            raise unprocessable({name: "must be a time such as 2026-11-21T00:00:00Z"})
    return query


async def _read_bounded(request: Request) -> bytes:
    too_large = ApiError(413, "body_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError as error:
        raise ApiError(408, "request_timeout", f"the body did not arrive within {_BODY_TIMEOUT_S} s") from error
    return bytes(body)


def _whole(decoded: Any) -> Any:
    """JSON does not tell 60.0 from 60, and some languages write it so."""
    if not isinstance(decoded, dict):
        return decoded
    return {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in decoded.items()}


def _convert(value: Any, kind: type[T], *, strict: bool) -> T:
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise unprocessable(_faults(str(error))) from error


def _faults(text: str) -> dict[str, str]:
    """msgspec's one line, taken apart."""
    if found := _UNKNOWN.match(text):
        return {found["field"]: "is not known here"}
    if found := _MISSING.match(text):
        return {found["field"]: "is required"}
    if found := _AT.match(text):
        return {found["field"]: found["fault"][:1].lower() + found["fault"][1:]}
    return {"": text}
