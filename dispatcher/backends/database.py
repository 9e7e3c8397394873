"""Backend `database`: the `requests` and bodies that the admin shows. A second delivery of an event changes nothing."""

from collections.abc import Sequence

from bus.event import Body, ExchangeFinished, Usage
from dispatcher.backends.base import Delivered, Ok, Outcome, Permanent, Retry, Unknown
from sql.database import Database
from sql.errors import BrokenReference, Conflict, SchemaMismatch, StoreError, StoreFull, StoreUnavailable, Unstorable
from sql.repositories import requests
from sql.rows import BodyRow, RequestRow


class DatabaseBackend:
    name = "database"

    def __init__(self, records: Database) -> None:
        self._records = records

    async def open(self) -> None:
        """The database opens at its first statement, and again by itself."""

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        events = [item.event for item in batch]
        rows = [request_row(event) for event in events]
        bodies = [body for event in events for body in body_rows(event)]
        try:
            await requests.insert_many(self._records, rows, bodies)
        except StoreError as error:
            return [_outcome(error, is_alone=len(batch) == 1)] * len(batch)
        return [Ok()] * len(batch)

    async def close(self) -> None:
        """The stores are their owner's to close."""


def _outcome(error: StoreError, *, is_alone: bool) -> Outcome:
    reason = str(error)
    if isinstance(error, StoreFull | SchemaMismatch):
        return Retry(reason)
    if isinstance(error, StoreUnavailable):
        return Unknown(reason)
    if isinstance(error, Unstorable | Conflict | BrokenReference):
        return Permanent(reason)
    # A refusal of a kind that we do not know (a missing grant, say) is no event's fault: each is tried alone, so that
    # one bad row cannot hold up the others, but none is buried for it.
    return Retry(reason) if is_alone else Permanent(reason)


def request_row(event: ExchangeFinished) -> RequestRow:
    usage = event.usage
    return RequestRow(
        event_id=event.event_id,
        request_id=event.request_id,
        accepted_at_ms=event.accepted_at_ms,
        trace_id=event.trace_id,
        method=event.method,
        path=event.path,
        status=event.status,
        code=event.code,
        client_ip=event.client_ip,
        user_agent=event.user_agent,
        project_id=event.project_id,
        token_id=event.token_id,
        organisation=event.organisation,
        session_id=event.session_id,
        conversation_id=event.conversation_id,
        end_user=event.end_user,
        provider=event.provider,
        dialect=event.dialect,
        model=event.model,
        response_model=event.response_model,
        response_id=event.response_id,
        **_tokens(usage),
        cost_microusd=event.cost_microusd,
        upstream_head_us=event.upstream_head_us,
        first_byte_us=event.first_byte_us,
        last_byte_us=event.last_byte_us,
        overhead_us=event.overhead_us,
        request_bytes=event.request_bytes,
        response_bytes=event.response_bytes,
        streamed=event.streamed,
        cut=event.cut,
        cached=event.cached,
        attempts=event.attempts,
        usage_source=event.usage_source,
        price_source=event.price_source,
        service_tier=usage.service_tier if usage else "",
    )


def body_rows(event: ExchangeFinished) -> list[BodyRow]:
    sides = (("request", event.request_body), ("response", event.response_body))
    return [_body_row(event.event_id, side, body) for side, body in sides if body is not None]


def _tokens(usage: Usage | None) -> dict[str, int | None]:
    """Unknown usage is NULL in every column, never 0.

    Images and video are among the text here, cached audio among what was cached: the cost has told them apart before.
    """
    return {
        "input_tokens": usage.input + usage.image_input + usage.video_input if usage else None,
        "cache_read_tokens": usage.cache_read + usage.audio_cache_read if usage else None,
        "cache_write_tokens": usage.cache_write if usage else None,
        "cache_write_1h_tokens": usage.cache_write_1h if usage else None,
        "output_tokens": usage.output + usage.image_output + usage.video_output if usage else None,
        "reasoning_tokens": usage.reasoning if usage else None,
        "audio_input_tokens": usage.audio_input if usage else None,
        "audio_output_tokens": usage.audio_output if usage else None,
    }


def _body_row(event_id: str, side: str, body: Body) -> BodyRow:
    return BodyRow(
        event_id=event_id,
        side=side,
        data=body.data,
        content_type=body.content_type,
        content_encoding=body.content_encoding,
        truncated=body.truncated,
    )
