"""Clients that leave projects which drain: the answer is read to its end without them, and what it cost is recorded."""

import asyncio
import os
import signal
import socket
import threading

import pytest

from bus.event import ExchangeFinished
from tests.support.proxy import Proxy, make_project, make_token
from tests.support.upstream import Received, Upstream, Wire, sse
from tests.support.waiting import eventually

CHAT = "/v1/chat/completions"
EVENT_STREAM = (b"content-type", b"text/event-stream")
USAGE = sse('{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}', "[DONE]")
WHOLE = b'{"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'


class Model:
    """An upstream that goes on talking when the test says so."""

    def __init__(self, upstream: Upstream) -> None:
        self.has_begun, self.may_end, self.was_cut = threading.Event(), threading.Event(), threading.Event()
        self.first: bytes | None = sse('{"choices":[{"delta":{"content":"one"}}]}')
        self.rest = USAGE
        upstream.on(CHAT)(self.answer)

    async def answer(self, received: Received, wire: Wire) -> None:
        if self.first is not None:
            await wire.start_chunked(EVENT_STREAM)
            await wire.chunk(self.first)
        self.has_begun.set()
        gone = asyncio.ensure_future(wire.gone())
        while not self.may_end.is_set() and not gone.done():
            await asyncio.sleep(0.01)
        if gone.done():
            self.was_cut.set()
            return
        gone.cancel()
        if self.first is None:
            await wire.reply(200, WHOLE, (b"content-type", b"application/json"))
            return
        await wire.chunk(self.rest)
        await wire.end()


def draining_token(proxy: Proxy) -> str:
    name = f"drains {os.urandom(4).hex()}"
    project_id = proxy.run(lambda stores: make_project(stores, name, on_disconnect="drain"))
    return proxy.run(lambda stores: make_token(stores, project_id))[1]


def call_and_leave(proxy: Proxy, token: str, model: Model, request_id: str, *, head: bytes = b"HTTP/1.1 200") -> None:
    sent = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 2\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as client:
        client.sendall(f"{sent}x-request-id: {request_id}\r\n\r\n{{}}".encode())
        assert model.has_begun.wait(60)
        assert client.recv(len(head)) == head


def counter(proxy: Proxy, name: str) -> float:
    with proxy.client() as client:
        lines = client.get("/metrics/prometheus").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def event_of(proxy: Proxy, request_id: str) -> ExchangeFinished:
    eventually(lambda: [event for event in proxy.events() if event.request_id == request_id])
    (event,) = [event for event in proxy.events() if event.request_id == request_id]
    return event


@pytest.mark.parametrize("is_stream", [True, False])
def test_usage_is_recorded_although_the_client_has_left(proxy: Proxy, upstream: Upstream, is_stream: bool) -> None:
    model, request_id, before = Model(upstream), f"drained-{is_stream}", counter(proxy, "llm_proxy_drains_total")
    if not is_stream:
        model.first = None

    call_and_leave(proxy, draining_token(proxy), model, request_id, head=b"HTTP/1.1 200" if is_stream else b"")
    eventually(lambda: counter(proxy, "llm_proxy_drains_total") > before)
    model.may_end.set()
    event = event_of(proxy, request_id)

    assert (event.cut, event.status) == ("client", 200)
    assert event.usage is not None
    assert (event.usage.prompt_tokens, event.usage.completion_tokens, event.usage_source) == (7, 5, "provider")
    eventually(lambda: counter(proxy, "llm_proxy_drains_running") == 0)
    eventually(lambda: counter(proxy, "llm_proxy_inflight") == 0)


def test_a_client_that_read_nothing_holds_up_no_drain(proxy: Proxy, upstream: Upstream) -> None:
    model, before = Model(upstream), counter(proxy, "llm_proxy_drains_total")
    model.rest = b": nothing\n\n" * 1_000_000 + USAGE  # more than lies in buffers on the way to who does not read

    model.may_end.set()
    call_and_leave(proxy, draining_token(proxy), model, "has-read-nothing")

    event = event_of(proxy, "has-read-nothing")
    assert (event.cut, event.response_bytes > 10_000_000) == ("client", True)
    assert event.usage is not None
    assert counter(proxy, "llm_proxy_drains_total") == before + 1


def test_a_client_that_left_at_the_end_of_its_stream_has_cut_nothing(proxy: Proxy, upstream: Upstream) -> None:
    model, before = Model(upstream), counter(proxy, "llm_proxy_drains_total")
    model.first, model.rest = (model.first or b"") + USAGE, b""

    @upstream.on(CHAT)
    async def says_all_and_lingers(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(model.first or b"")
        model.has_begun.set()
        await asyncio.to_thread(model.may_end.wait, 60)
        await wire.end()

    call_and_leave(proxy, draining_token(proxy), model, "left-at-the-end")
    eventually(lambda: counter(proxy, "llm_proxy_drains_total") > before)
    model.may_end.set()

    assert event_of(proxy, "left-at-the-end").cut == ""


@pytest.mark.slow
def test_beyond_the_cap_the_upstream_is_cancelled(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.environ["LLM_PROXY_DISCONNECT_DRAINS"] = "1"
    own_proxy.start()
    token, first = draining_token(own_proxy), Model(upstream)
    call_and_leave(own_proxy, token, first, "has-the-seat")
    eventually(lambda: counter(own_proxy, "llm_proxy_drains_running") == 1)

    second = Model(upstream)
    call_and_leave(own_proxy, token, second, "has-no-seat")

    assert second.was_cut.wait(60)
    assert event_of(own_proxy, "has-no-seat").cut == "client"
    assert counter(own_proxy, "llm_proxy_drains_refused_total") == 1
    first.may_end.set()
    assert event_of(own_proxy, "has-the-seat").usage is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environ", "ends_by_itself"), [({"DRAIN_S": "1"}, True), ({"DRAIN_BYTES": "10"}, False)], ids=["time", "bytes"]
)
def test_a_drain_has_an_end(
    own_proxy: Proxy, upstream: Upstream, environ: dict[str, str], ends_by_itself: bool
) -> None:
    own_proxy.environ |= {f"LLM_PROXY_DISCONNECT_{name}": value for name, value in environ.items()}
    own_proxy.start()
    model = Model(upstream)

    call_and_leave(own_proxy, draining_token(own_proxy), model, "is-bounded")
    eventually(lambda: counter(own_proxy, "llm_proxy_drains_total") == 1)
    if not ends_by_itself:
        model.may_end.set()

    assert event_of(own_proxy, "is-bounded").cut == "client"
    eventually(lambda: counter(own_proxy, "llm_proxy_drains_running") == 0)


def test_a_worker_that_stops_lets_its_drains_end(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.start()
    model = Model(upstream)
    call_and_leave(own_proxy, draining_token(own_proxy), model, "at-the-stop")
    eventually(lambda: counter(own_proxy, "llm_proxy_drains_running") == 1)
    assert own_proxy.process is not None

    os.killpg(own_proxy.process.pid, signal.SIGTERM)
    eventually(lambda: not answers(own_proxy))
    model.may_end.set()

    event = event_of(own_proxy, "at-the-stop")
    assert (event.cut, event.usage is not None) == ("client", True)
    assert own_proxy.process.wait(60) is not None


def answers(proxy: Proxy) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), 60):
            return True
    except OSError:
        return False
