"""When an exchange is over, nothing holds on to its client, also before the garbage collector comes.

Granian drops a request when nobody refers to its `receive` and `send` any more. Until then hyper neither reads the rest
of an upload nor closes the connection: a client that is told 413 while it sends would send for ever.
"""

import asyncio
import gc
import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from app.endpoint import Endpoint
from app.errors import InvalidToken
from app.exchange import Exchange
from app.metrics import Metrics
from app.patience import Patience
from app.pipeline import Processor, compose
from app.pricing.prices import Prices
from app.processors.record import Record
from app.processors.report_errors import ReportErrors
from app.recorder import Recorder
from config.clock import SystemClock
from config.load import load_settings
from config.providers import SHIPPED_FILE, load_providers

LENGTH = 5_000_000


class Client:
    """Sends `pieces`, then waits, or is gone."""

    def __init__(self, *pieces: bytes, leaves: bool = False) -> None:
        self.pieces = list(pieces)
        self.leaves = leaves
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            return {"type": "http.request", "body": self.pieces.pop(0), "more_body": True}
        if not self.leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)


async def answer(exchange: Exchange) -> None:
    await exchange.reply.start(413, [])
    await exchange.reply.finish()


async def refuse(exchange: Exchange) -> None:
    raise InvalidToken("no")


async def answer_while_it_sends(exchange: Exchange) -> None:
    exchange.body.attend()
    await anext(exchange.body.stream())
    await answer(exchange)
    exchange.body.leave()


async def read_all(exchange: Exchange) -> None:
    await exchange.body.read_all(10)


async def read_until_it_is_gone(exchange: Exchange) -> None:
    await exchange.body.read_all(LENGTH)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("end", "status"),
    [(answer, 413), (refuse, 401), (answer_while_it_sends, 413), (read_all, 413), (read_until_it_is_gone, 0)],
)
async def test_nothing_holds_a_client_whose_exchange_is_over(no_collector: None, end: Any, status: int) -> None:
    settings = load_settings({})
    metrics = Metrics()
    recorder = Recorder(None, metrics, Prices(), max_request_bytes=0, max_response_bytes=0)
    processors: list[Processor] = [Record(recorder, metrics, logs_requests=False), ReportErrors()]
    endpoint = Endpoint(
        compose(processors, end=end, metrics=metrics),
        providers=load_providers(SHIPPED_FILE),
        settings=settings,
        clock=SystemClock(),
        patience=Patience(settings.request_body_look_ms),
        trusted=[],
    )
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/files",
        "query_string": b"",
        "headers": [(b"host", b"h"), (b"content-length", str(LENGTH).encode())],
    }
    client = Client(b"x" * 100, leaves=end is read_until_it_is_gone)

    async with asyncio.timeout(60):
        await endpoint(scope, client.receive, client.send)
    for _ in range(5):  # a receive() that was cancelled ends
        await asyncio.sleep(0)

    assert client.status == status
    held = weakref.ref(client)
    del client
    assert held() is None
