"""The recorder: makes events of exchanges and hands them to this worker's spool.

It is the only way to the bus that a request has. It never waits for Redis or a backend; what the spool cannot take is
counted and logged, and the client's reply goes on, unless LLM_PROXY_SPOOL_WHEN_FULL=reject refuses the call up front.
"""

import asyncio
import logging
import time

from app.errors import ProviderNotFound, SpoolIsFull
from app.estimates.estimates import Counted, Estimates, Heard, told_by_provider
from app.exchange import Exchange
from app.metrics import MICROSECONDS, Metrics
from app.pricing.billing import Billing
from app.pricing.prices import Prices
from app.transcription import Transcription
from bus.errors import BusError, SpoolFull
from bus.event import Body, ExchangeBegan, ExchangeFinished
from bus.spool import Spool
from config.logs import log

logger = logging.getLogger(__name__)


class Recorder:
    """`spool=None` (OBSERVABILITY_ENABLED=false) records nothing."""

    def __init__(
        self, spool: Spool | None, metrics: Metrics, prices: Prices, *, max_request_bytes: int, max_response_bytes: int
    ) -> None:
        self._spool = spool
        self._metrics = metrics
        self._billing = Billing(prices, metrics)
        self._estimates = Estimates()
        self._max_request_bytes = max_request_bytes
        self.max_response_bytes = max_response_bytes

    def begin(self, exchange: Exchange) -> None:
        """At accept. Raises SpoolIsFull when a full spool is to stop the traffic."""
        if self._spool is None:
            return
        began = time.monotonic_ns()
        try:
            self._spool.begin(_began(exchange))
        except SpoolFull as error:
            raise SpoolIsFull(
                "Nothing more can be recorded right now, so nothing is served; try again soon."
            ) from error
        except BusError as error:
            self._failed(exchange, error)
        exchange.facts.record_ns = time.monotonic_ns() - began

    async def finish(self, exchange: Exchange, transcription: Transcription) -> None:
        """Returns when the event is recorded in the sense of LLM_PROXY_RECORD, or counted as failed.

        What the exchange holds of its limits is settled by the event, recorded or not.
        """
        if self._spool is None and exchange.held is None:
            return
        heard = transcription.uncounted(exchange)
        if heard is None:
            await self._record(exchange, transcription, told_by_provider(transcription.reply_facts()))
            return
        counting = self._estimates.begin(heard)
        try:
            await asyncio.shield(counting)
        finally:  # SDKs hang up at the last event, which cancels this: it is counted and recorded all the same
            await self._record(exchange, transcription, await _outcome(counting, heard))

    async def _record(self, exchange: Exchange, transcription: Transcription, counted: Counted) -> None:
        began = time.monotonic_ns()
        event = self._finished(exchange, transcription, counted)
        if exchange.held is not None:
            exchange.held.settle(event)
        if self._spool is None:
            return
        try:
            await self._spool.finish(event)
        except BusError as error:
            self._failed(exchange, error)
        exchange.facts.record_ns += time.monotonic_ns() - began
        self._metrics.observe("llm_proxy_record_seconds", exchange.facts.record_ns, MICROSECONDS)

    def _failed(self, exchange: Exchange, error: BusError) -> None:
        self._metrics.count("llm_proxy_record_failures_total")
        log(logger, logging.ERROR, "an event could not be recorded", event_id=exchange.event_id, error=str(error))

    def _finished(self, exchange: Exchange, transcription: Transcription, counted: Counted) -> ExchangeFinished:
        facts, said, first = exchange.facts, transcription, exchange.first
        call, told = said.call_facts(exchange), said.reply_facts()
        bill = self._billing.bill(exchange.provider, call.model, told.model, counted.usage, exchange.accepted_at_ms)
        names_people = facts.recording != "off"
        return ExchangeFinished(
            event_id=exchange.event_id,
            request_id=exchange.request_id,
            accepted_at_ms=exchange.accepted_at_ms,
            method=exchange.method,
            path=exchange.sent_path,
            status=said.status if said.status else (499 if facts.cut == "client" else 0),
            code=facts.code,
            trace_id=exchange.traceparent[3:35],
            client_ip=exchange.client_ip,
            user_agent=_text(first.get(b"user-agent")),
            project_id=facts.project_id,
            token_id=facts.token_id,
            organisation=_text(first.get(b"openai-organization")),
            session_id=(call.session_id or _text(first.get(b"x-session-id"))) if names_people else "",
            conversation_id=call.conversation_id if names_people else "",
            end_user=call.end_user if names_people else "",
            provider=_provider(exchange),
            dialect=exchange.provider.dialect,
            model=call.model,
            response_model=told.model,
            response_id=told.response_id,
            usage=counted.usage,
            usage_source=counted.source,
            cost_microusd=bill.cost_microusd,
            price_source=bill.price_source,
            upstream_head_us=_us(facts.upstream_head_ns, exchange),
            first_byte_us=_us(facts.first_byte_ns, exchange),
            last_byte_us=(time.monotonic_ns() - exchange.accepted_ns) // 1000,
            overhead_us=overhead_ns(exchange) // 1000,
            request_bytes=exchange.body.size,
            response_bytes=said.size,
            streamed=said.is_stream,
            cut=facts.cut,
            attempts=facts.attempts,
            recording=facts.recording,
            request_body=self._request_body(exchange) if facts.recording == "full" else None,
            response_body=said.body() if facts.recording == "full" else None,
        )

    def _request_body(self, exchange: Exchange) -> Body | None:
        seen = exchange.body.seen
        if not seen:
            return None
        return Body(
            data=seen[: self._max_request_bytes],
            content_type=_text(exchange.header(b"content-type")),
            content_encoding=_text(exchange.header(b"content-encoding")),
            truncated=exchange.body.size > self._max_request_bytes or not exchange.body.is_seen_whole,
        )


async def _outcome(counting: "asyncio.Future[Counted]", heard: Heard) -> Counted:
    try:
        return await asyncio.shield(counting)
    except asyncio.CancelledError:  # once more: this worker ends
        return told_by_provider(heard.told)


def overhead_ns(exchange: Exchange) -> int:
    """Accept to the reply's head, less what the client and the upstream made us wait."""
    until = exchange.facts.reply_head_ns or time.monotonic_ns()
    return max(0, until - exchange.accepted_ns - exchange.facts.waited_ns - exchange.body.waited_ns)


def _began(exchange: Exchange) -> ExchangeBegan:
    return ExchangeBegan(
        event_id=exchange.event_id,
        request_id=exchange.request_id,
        accepted_at_ms=exchange.accepted_at_ms,
        method=exchange.method,
        path=exchange.sent_path,
        trace_id=exchange.traceparent[3:35],
        client_ip=exchange.client_ip,
        provider=_provider(exchange),
    )


def _provider(exchange: Exchange) -> str:
    """Empty where the call names none that we know: the exchange has one all the same, which lends it a dialect."""
    return "" if isinstance(exchange.refusal, ProviderNotFound) else exchange.provider.name


def _us(at_ns: int | None, exchange: Exchange) -> int | None:
    return None if at_ns is None else (at_ns - exchange.accepted_ns) // 1000


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")[:1024]
