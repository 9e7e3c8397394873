"""ReportErrors: what is raised below becomes the reply, in the dialect that the client's SDK understands.

Before the head it is a whole reply. After it, an event stream that stands between two events ends with the dialect's
error event. Anything else is cut off, so that nobody takes it for complete: half an event that we ended would reach a
client's JSON parser, half an event that breaks off is discarded (WHATWG HTML, section 9.2.6). What is nobody's known
error is logged once, with the ids to find it.
"""

import logging

from app.dialects import as_body, as_stream_event
from app.errors import ClientGone, InternalError, Refusal, ReplyBroken
from app.exchange import Exchange, Headers, Proceed
from app.proxy_headers import reply_headers

logger = logging.getLogger(__name__)


class ReportErrors:
    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        try:
            await proceed(exchange)
        except Refusal as refusal:
            await _report(exchange, refusal)
        except (ClientGone, ReplyBroken):
            raise
        except Exception:
            ids = {"event_id": exchange.event_id, "request_id": exchange.request_id}
            logger.exception("an exchange failed by a mistake of ours", extra={"fields": ids})
            await _report(exchange, InternalError("Something went wrong in the proxy; quote the event id."))


async def _report(exchange: Exchange, refusal: Refusal) -> None:
    exchange.facts.code = refusal.code
    if not exchange.reply.is_started:
        await _reply(exchange, refusal)
    elif not exchange.reply.is_finished:
        await _end_started_reply(exchange, refusal)


async def _reply(exchange: Exchange, refusal: Refusal) -> None:
    body = as_body(exchange.provider.dialect, refusal, exchange.event_id)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *refusal.headers,
        *reply_headers(exchange),
    ]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    if not refusal.may_heal:
        headers.append((b"x-should-retry", b"false"))
    await exchange.reply.start(refusal.status, headers)
    await exchange.reply.write(b"" if exchange.method == "HEAD" else body, last=True)


async def _end_started_reply(exchange: Exchange, refusal: Refusal) -> None:
    if exchange.facts.can_tell_in_stream:
        await exchange.reply.write(as_stream_event(exchange.provider.dialect, refusal, exchange.event_id))
        await exchange.reply.finish()
        return
    raise ReplyBroken(refusal.code) from refusal
