"""CallUpstream: the end of the list. Sends the call on and pushes the answer back, piece by piece as it arrives.

From before the upstream is called, the client is attended: when it leaves, the call is cancelled at once, also before
its head came, because a model that goes on talking is paid for. Where its project wants to know what that costs, the
answer is read to its end (`app/drains.py`).
"""

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import Final, cast

from app.asked_usage import with_usage_asked
from app.credentials import without_credentials
from app.drains import Drains
from app.errors import ClientGone, UpstreamCut, UpstreamKeyMissing, UpstreamTimeout
from app.exchange import Exchange
from app.metrics import Metrics
from app.transcription import EVENT_STREAM
from app.upstreams.headers import client_headers, content_length, upstream_headers, with_length_in_clear
from app.upstreams.upstream import UpstreamRequest, UpstreamResponse, Upstreams
from config.secret import Secret

_EVENT_ENDS: Final = (b"\n\n", b"\r\r", b"\r\n\r\n")
_ONE_MESSAGE_BYTES: Final = 64 * 1024  # a body of known length up to this goes out as one message


class CallUpstream:
    def __init__(self, upstreams: Upstreams, metrics: Metrics, drains: Drains) -> None:
        self._upstreams = upstreams
        self._metrics = metrics
        self._drains = drains

    async def __call__(self, exchange: Exchange) -> None:
        key = _choose_key(exchange)
        request = await _request(exchange, key)
        exchange.body.attend(self._drains.of(exchange))
        forward = self._forward if exchange.body.is_small else self._forward_while_it_comes
        forwarding, total_ms = forward(exchange, request), exchange.provider.timeouts.total_ms
        try:
            await (_within(total_ms / 1000, forwarding) if total_ms else forwarding)
        except TimeoutError as error:
            exchange.facts.cut = "upstream"
            raise UpstreamTimeout(f"{exchange.provider.name} took longer than is allowed in total.") from error
        except asyncio.CancelledError:
            _raise_why(exchange)
        finally:
            self._drains.end(exchange)
            exchange.body.leave()

    async def _forward_while_it_comes(self, exchange: Exchange, request: UpstreamRequest) -> None:
        """With a task beside it that sends the body's pieces on."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._forward(exchange, request, group)
        except ExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _forward(
        self, exchange: Exchange, request: UpstreamRequest, group: asyncio.TaskGroup | None = None
    ) -> None:
        facts = exchange.facts
        facts.attempts += 1
        began = time.monotonic_ns()
        try:
            response = await self._upstreams.of(exchange.provider).open(request, group)
            facts.upstream_head_ns = time.monotonic_ns()
        finally:
            facts.waited_ns += time.monotonic_ns() - began
        self._metrics.of(exchange.provider.name).upstream_duration.observe_ns(facts.upstream_head_ns - began)
        try:
            await _pass_on(exchange, response, self._drains)
        except (UpstreamCut, UpstreamTimeout):
            facts.cut = "upstream"
            raise
        finally:
            await response.close()


async def _pass_on(exchange: Exchange, response: UpstreamResponse, drains: Drains) -> None:
    reply, length = exchange.reply, content_length(response.headers)
    has_body = exchange.method != "HEAD" and response.status not in (204, 304) and length != 0
    if has_body and length is not None and length <= _ONE_MESSAGE_BYTES:
        body = await _read_all(exchange, response)
        if exchange.body.is_abandoned:
            drains.hear(exchange, len(body))
        await reply.start(response.status, client_headers(exchange, response.headers))
        await reply.write(body, last=True)
        return
    is_readable = exchange.facts.can_tell_in_stream = _is_readable_stream(response)
    await reply.start(response.status, client_headers(exchange, response.headers))
    sent, tail = 0, b""
    while has_body and (chunk := await response.read()):
        sent += len(chunk)
        if exchange.body.is_abandoned:
            drains.hear(exchange, len(chunk))
        await reply.write(chunk, last=sent == length)
        if is_readable:
            tail = (tail + chunk)[-4:] if len(chunk) < 4 else chunk[-4:]
            exchange.facts.can_tell_in_stream = tail.endswith(_EVENT_ENDS)
    await reply.finish()


async def _read_all(exchange: Exchange, response: UpstreamResponse) -> bytes:
    began = time.monotonic_ns()
    body = await response.read()
    while piece := await response.read():
        body += piece
    exchange.facts.waited_ns += time.monotonic_ns() - began
    return body


async def _request(exchange: Exchange, key: Secret) -> UpstreamRequest:
    body = exchange.body
    whole = await body.read_all(body.length or 0) if body.is_small else None
    has_body = not body.is_small or bool(whole)
    query = without_credentials(exchange.provider.auth, exchange.query).decode("latin-1")
    headers = upstream_headers(exchange, key, has_body=has_body)
    if exchange.facts.may_ask_for_usage and whole and (asking := with_usage_asked(whole)):
        exchange.facts.has_asked_for_usage = True
        whole, headers = asking, with_length_in_clear(headers, len(asking))
    return UpstreamRequest(
        method=exchange.method,
        target=exchange.provider.path_prefix + exchange.path + (f"?{query}" if query else ""),
        headers=headers,
        body=(whole or None) if body.is_small else body.stream(),
    )


def _choose_key(exchange: Exchange) -> Secret:
    """One of the project's API keys for the provider, by weight."""
    name = exchange.provider.name
    keys = [k for k in exchange.project.keys if k.provider == name and k.weight > 0]
    if not keys:
        raise UpstreamKeyMissing(f"This project has no API key for {name}; ask its admin to add one.")
    if len(keys) == 1:
        return keys[0].key
    return random.choices(keys, weights=[k.weight for k in keys])[0].key


async def _within(total_s: float, forwarding: Awaitable[None]) -> None:
    async with asyncio.timeout(total_s):
        await forwarding


def _is_readable_stream(response: UpstreamResponse) -> bool:
    heads = dict(response.headers)
    return heads.get(b"content-type", b"").startswith(EVENT_STREAM) and b"content-encoding" not in heads


def _raise_why(exchange: Exchange) -> None:
    """To be called in a cancellation. A client that left after its whole reply has done nothing wrong."""
    why, task = exchange.body.ended_by, cast("asyncio.Task[None]", asyncio.current_task())
    if why is None or task.uncancel():  # somebody else's, too
        raise
    if not (isinstance(why, ClientGone) and exchange.reply.is_finished):
        raise why from None
