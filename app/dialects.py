"""Our errors in the words of each provider, so that the official SDKs raise their own exceptions.

OpenAI     {"error": {"message", "type", "param", "code"}}          platform.openai.com/docs/guides/error-codes
Anthropic  {"type": "error", "error": {"type", "message"}}          docs.anthropic.com/en/api/errors
Gemini     {"error": {"code", "message", "status", "details"}}      google.rpc.Status, google.aip.dev/193

The stable `code` stands inside each and again at the top level, beside it.
"""

from typing import Any, Final

import msgspec

from app.errors import Refusal
from config.providers import Dialect

_OPENAI_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_GEMINI_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def as_body(dialect: Dialect, refusal: Refusal, event_id: str) -> bytes:
    """The JSON body of a refused call."""
    return msgspec.json.encode(_error_object(dialect, refusal, event_id))


def as_stream_event(dialect: Dialect, refusal: Refusal, event_id: str) -> bytes:
    """The last event of a stream that failed."""
    body = as_body(dialect, refusal, event_id)
    name = b"event: error\n" if dialect == "anthropic" else b""
    return name + b"data: " + body + b"\n\n"


def _error_object(dialect: Dialect, refusal: Refusal, event_id: str) -> dict[str, Any]:
    code, status, message = refusal.code, refusal.status, refusal.message
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        error: dict[str, Any] = {"type": kind, "message": message, "code": code, "details": {"error_code": code}}
        return {"type": "error", "error": error, "code": code, "request_id": event_id}
    if dialect == "gemini":
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "llm-proxy"}
        word = _GEMINI_STATUSES.get(status, "INTERNAL")
        return {"error": {"code": status, "message": message, "status": word, "details": [reason]}, "code": code}
    kind = _OPENAI_TYPES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}, "code": code}
