"""Record: one event per exchange, in the spool before the client has its last byte.

At accept it notes that the exchange is open. It wraps the reply and appends the event before it lets go of the piece
that completes the body: the piece that fills Content-Length, the empty final message of a chunked reply, or the only
message of HEAD, 204 and 304. What ends in another way (cut, failed, client gone) is recorded when the pipeline has
unwound.
"""

import asyncio
import logging
import time

from app.errors import ClientGone, SpoolIsFull
from app.exchange import Exchange, Headers, Proceed
from app.metrics import Metrics
from app.recorder import Recorder, overhead_ns
from app.reply import Reply
from app.transcription import Transcription
from app.upstreams.headers import content_length
from config.logs import log

logger = logging.getLogger(__name__)


class Record:
    def __init__(self, recorder: Recorder, metrics: Metrics, *, logs_requests: bool) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._logs_requests = logs_requests

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        self._begin(exchange)
        recorded = _RecordedReply(exchange, self._recorder)
        exchange.reply = recorded
        self._metrics.inflight += 1
        try:
            await proceed(exchange)
        except (ClientGone, asyncio.CancelledError):
            if not recorded.transcription.has_told_all():  # SDKs hang up at the terminal event
                exchange.facts.cut = exchange.facts.cut or "client"
            raise
        finally:
            self._metrics.inflight -= 1
            await recorded.record()
            self._count(exchange, recorded.transcription)
            if self._logs_requests:
                _log(exchange, recorded.transcription)

    def _begin(self, exchange: Exchange) -> None:
        """From here on a death of this worker leaves an `interrupted` event, unless nothing can be recorded at all."""
        try:
            self._recorder.begin(exchange)
        except SpoolIsFull as refusal:
            exchange.refusal = exchange.refusal or refusal

    def _count(self, exchange: Exchange, said: Transcription) -> None:
        facts, metrics = exchange.facts, self._metrics
        figures = metrics.of(exchange.provider.name)
        metrics.count("llm_proxy_requests_total")
        if said.status >= 400 or said.status == 0:
            metrics.count("llm_proxy_errors_total")
        if facts.code:
            metrics.count(f'llm_proxy_refusals_total{{code="{facts.code}"}}')
        if facts.cut:
            metrics.count(f'llm_proxy_exchanges_cut_total{{by="{facts.cut}"}}')
        figures.request_duration(said.status).observe_ns(time.monotonic_ns() - exchange.accepted_ns)
        figures.overhead.observe_ns(overhead_ns(exchange))
        if facts.first_byte_ns is not None:
            figures.time_to_first_byte.observe_ns(facts.first_byte_ns - exchange.accepted_ns)
        usage = said.reply_facts().usage
        if usage is not None:
            metrics.count(figures.prompt_tokens, usage.prompt_tokens)
            metrics.count(figures.completion_tokens, usage.completion_tokens)


def _log(exchange: Exchange, said: Transcription) -> None:
    facts = exchange.facts
    log(
        logger,
        logging.INFO,
        "exchange",
        request_id=exchange.request_id,
        event_id=exchange.event_id,
        trace_id=exchange.traceparent[3:35],
        project_id=facts.project_id,
        token_id=facts.token_id,
        provider=exchange.provider.name,
        method=exchange.method,
        path=exchange.path,
        status=said.status,
        code=facts.code,
        cut=facts.cut,
        duration_ms=round((time.monotonic_ns() - exchange.accepted_ns) / 1e6, 3),
        overhead_ms=round(overhead_ns(exchange) / 1e6, 3),
    )


class _RecordedReply:
    """A reply that knows when its client will be done, and records just before."""

    def __init__(self, exchange: Exchange, recorder: Recorder) -> None:
        self._exchange = exchange
        self._inner: Reply = exchange.reply
        self._recorder = recorder
        self._length: int | None = None
        self._is_recorded = False
        self.transcription = Transcription(recorder.max_response_bytes)

    @property
    def is_started(self) -> bool:
        return self._inner.is_started

    @property
    def is_finished(self) -> bool:
        return self._inner.is_finished

    async def start(self, status: int, headers: Headers) -> None:
        exchange = self._exchange
        exchange.facts.reply_head_ns = time.monotonic_ns()
        self.transcription.head(exchange, status, headers)
        self._length = content_length(headers)
        if self._length == 0 or exchange.method == "HEAD" or status in (204, 304):
            await self.record()
        await self._inner.start(status, headers)

    async def write(self, chunk: bytes, *, last: bool = False) -> None:
        exchange, said = self._exchange, self.transcription
        if exchange.facts.first_byte_ns is None and chunk:
            exchange.facts.first_byte_ns = time.monotonic_ns()
        if last or (self._length is not None and said.size + len(chunk) >= self._length):
            said.hear(exchange, chunk)
            await self.record()
            await self._inner.write(chunk, last=last)
        else:
            await self._inner.write(chunk)
            said.hear(exchange, chunk)  # after the chunk is out: nothing is held back for the record

    async def finish(self) -> None:
        await self.record()
        await self._inner.finish()

    async def record(self) -> None:
        if not self._is_recorded:
            self._is_recorded = True
            await self._recorder.finish(self._exchange, self.transcription)
