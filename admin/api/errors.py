"""What /manage answers when it does not do what was asked: `{"error": ..., "code": ..., "fields": {...}}`.

Errors of the acts, of the database and of the event bus become an ApiError here, in one place; what is left over is a
500 and a traceback in the log.
"""

import logging
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from starlette.responses import Response

from admin.acts.errors import (
    ActError,
    Conflict,
    Invalid,
    InvalidDocument,
    NotFound,
    NotUndoable,
    ProjectInactive,
    TokenEnded,
)
from bus.errors import BusUnavailable
from config.logs import log
from sql.errors import SealBroken, StoreError, StoreFull, StoreUnavailable

_logger = logging.getLogger(__name__)

_RETRY_S = "2"  # a database that restarts needs a few of these; a pool that is exhausted, one


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """Every error of this API."""

    error: str
    code: str
    fields: dict[str, str] = {}
    """Name of a field or parameter to what is wrong with it; with 422 only."""
    message: str = ""


class ApiError(Exception):
    def __init__(
        self,
        status: int,
        code: str,
        error: str,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        message: str = "",
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = dict(headers or {})
        self.body = ErrorBody(error=error, code=code, fields=dict(fields or {}), message=message)


def unprocessable(fields: Mapping[str, str]) -> ApiError:
    """422: well-formed, but these values cannot be."""
    error = "; ".join(f"{name} {fault}" if name else fault for name, fault in fields.items())
    return ApiError(422, "invalid_request", error, fields=fields)


def check_configured(provider: str, configured: Iterable[str]) -> None:
    """Raises ApiError 422."""
    if provider not in configured:
        raise unprocessable({"provider": f"is not configured; there are {', '.join(sorted(configured))}"})


def too_many(wait_s: int) -> ApiError:
    return ApiError(429, "rate_limit_exceeded", "too many requests from this address", headers=_retry(str(wait_s)))


def render(error: Exception) -> Response:
    """The reply that tells of `error`."""
    told = _told(error)
    body = msgspec.json.encode(told.body)
    return Response(body, status_code=told.status, headers=told.headers, media_type="application/json")


def _told(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ActError):
        return _of_act(error)
    if isinstance(error, StoreError):
        return _of_store(error)
    if isinstance(error, BusUnavailable):
        return ApiError(503, "bus_unavailable", str(error), headers=_retry(_RETRY_S))
    _logger.error("unexpected error in /manage", exc_info=error)
    return ApiError(500, "internal_error", "internal error; the log has it under this x-request-id")


def _of_act(error: ActError) -> ApiError:
    if isinstance(error, NotFound):
        return ApiError(404, "not_found", str(error))
    if isinstance(error, Conflict):
        return ApiError(409, "conflict", str(error), fields={error.field: error.message})
    if isinstance(error, ProjectInactive):
        return ApiError(403, "project_inactive", str(error))
    if isinstance(error, TokenEnded | NotUndoable):
        return ApiError(409, "conflict", str(error))
    if isinstance(error, Invalid):
        return unprocessable({error.field: error.message})
    if isinstance(error, InvalidDocument):
        return ApiError(422, "invalid_request", str(error), fields=error.faults)
    return ApiError(422, "invalid_request", str(error))


def _of_store(error: StoreError) -> ApiError:
    log(_logger, logging.ERROR, "the database failed /manage", reason=f"{type(error).__name__}: {error}")
    if isinstance(error, StoreFull):
        return ApiError(
            503, "store_unavailable", "the database cannot be written to: see the log", headers=_retry("60")
        )
    if isinstance(error, StoreUnavailable):
        return ApiError(503, "store_unavailable", "the database is away: try again", headers=_retry(_RETRY_S))
    if isinstance(error, SealBroken):
        return ApiError(500, "internal_error", str(error))
    return ApiError(500, "internal_error", f"the database cannot be used as it is: {type(error).__name__}; see the log")


def _retry(seconds: str) -> dict[str, str]:
    return {"Retry-After": seconds}
