"""Everything that we refuse or that fails, as one tree. `ReportErrors` turns it into the reply.

Refusal                     code, status and what the client should do next
 +- before authentication   MethodNotAllowed EndpointNotFound ProviderNotFound ParamNotAllowed OriginRequired
 |                          OriginNotAllowed InvalidRequest BodyTooLarge NotImplementedYet
 +- authentication          InvalidToken TokenExpired TokenInactive
 +- the body                RequestTimeout
 +- the project             ProjectInactive UpstreamKeyMissing QuotaExceeded
 +- the policy              ModelNotAllowed RateLimitExceeded BudgetExceeded
 +- the upstream            UpstreamUnreachable UpstreamCut UpstreamTimeout
 +- ourselves               Overloaded StoreAway Draining SpoolIsFull InternalError
ClientGone                  not a refusal: nobody is left to be told

Foreign errors are translated where they are met (app/upstreams, app/lookups), once.
"""

from typing import ClassVar


class Refusal(Exception):
    """Ends an exchange with one clear reply. `message` is for the client: it says what to do and holds no secret."""

    code: ClassVar[str]
    status: ClassVar[int]
    retry_after_s: int | None = None
    """Sent as Retry-After; None where nobody knows how long it takes."""
    may_heal: ClassVar[bool] = False
    """Whether asking again may help. Where not, SDKs are told so; they would ask twice more, for nothing."""

    def __init__(
        self, message: str, *, headers: tuple[tuple[bytes, bytes], ...] = (), after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers
        if after_s is not None:
            self.retry_after_s = after_s


class MethodNotAllowed(Refusal):
    code, status = "method_not_allowed", 405


class EndpointNotFound(Refusal):
    code, status = "endpoint_not_found", 404


class ProviderNotFound(Refusal):
    code, status = "provider_not_found", 404


class ParamNotAllowed(Refusal):
    code, status = "param_not_allowed", 400


class OriginRequired(Refusal):
    code, status = "origin_required", 400


class OriginNotAllowed(Refusal):
    code, status = "origin_not_allowed", 403


class InvalidRequest(Refusal):
    code, status = "invalid_request", 400


class BodyTooLarge(Refusal):
    code, status = "body_too_large", 413


class RequestTimeout(Refusal):
    code, status, may_heal = "request_timeout", 408, True


class NotImplementedYet(Refusal):
    code, status = "not_implemented", 501


class InvalidToken(Refusal):
    code, status = "invalid_token", 401


class TokenExpired(Refusal):
    code, status = "token_expired", 401


class TokenInactive(Refusal):
    code, status = "token_inactive", 401


class ProjectInactive(Refusal):
    code, status = "project_inactive", 403


class QuotaExceeded(Refusal):
    code, status = "quota_exceeded", 429


class ModelNotAllowed(Refusal):
    code, status = "model_not_allowed", 403


class RateLimitExceeded(Refusal):
    code, status, may_heal = "rate_limit_exceeded", 429, True


class BudgetExceeded(Refusal):
    code, status = "budget_exceeded", 429


class UpstreamKeyMissing(Refusal):
    code, status = "upstream_key_missing", 503


class UpstreamUnreachable(Refusal):
    code, status, may_heal = "upstream_unreachable", 502, True


class UpstreamCut(Refusal):
    code, status, may_heal = "upstream_cut", 502, True


class UpstreamTimeout(Refusal):
    code, status, may_heal = "upstream_timeout", 504, True


class Overloaded(Refusal):
    code, status, retry_after_s, may_heal = "overloaded", 503, 1, True


class StoreAway(Refusal):
    code, status, retry_after_s, may_heal = "store_unavailable", 503, 2, True


class Draining(Refusal):
    code, status, retry_after_s, may_heal = "draining", 503, 1, True


class SpoolIsFull(Refusal):
    code, status, retry_after_s, may_heal = "spool_full", 503, 10, True


class InternalError(Refusal):
    code, status, may_heal = "internal_error", 500, True


class ClientGone(Exception):
    """The client left before it had its whole reply. Recorded as status 499 when it had no head yet."""


class ReplyBroken(Exception):
    """The reply had begun and cannot be completed: the connection is cut, so that nobody takes it for whole."""
