"""Streams: chunk by chunk, to their end or to a clear end of them."""

import asyncio
import socket
import threading

import httpx
import pytest

from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire, sse
from tests.support.waiting import eventually

CHAT = "/v1/chat/completions"
EVENT_STREAM = (b"content-type", b"text/event-stream")


def test_no_chunk_is_held_back(proxy: Proxy, upstream: Upstream) -> None:
    may_go_on = threading.Semaphore(0)

    @upstream.on(CHAT)
    async def hand_in_hand(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        for number in range(5):
            await wire.chunk(sse(str(number)))
            await asyncio.to_thread(may_go_on.acquire)  # until the client has it, nothing more comes
        await wire.end()

    seen = []
    with proxy.client() as client, client.stream("POST", CHAT, json={"stream": True}) as response:
        for chunk in response.iter_raw():
            seen.append(chunk)
            may_go_on.release()

    assert seen == [sse(str(n)) for n in range(5)]


@pytest.mark.parametrize("silent_before_head", [True, False])
def test_a_client_that_leaves_cancels_the_upstream_at_once(
    proxy: Proxy, upstream: Upstream, silent_before_head: bool
) -> None:
    was_cancelled = threading.Event()
    has_begun = threading.Event()

    @upstream.on(CHAT)
    async def endless(received: Received, wire: Wire) -> None:
        has_begun.set()
        if not silent_before_head:
            await wire.start_chunked(EVENT_STREAM)
            await wire.chunk(sse("one"))
        if await wire.gone():
            was_cancelled.set()

    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {proxy.token}\r\ncontent-length: 2\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as client:
        client.sendall(f"{head}x-request-id: leaves-{silent_before_head}\r\n\r\n{{}}".encode())
        assert has_begun.wait(60)
        if not silent_before_head:
            assert client.recv(12) == b"HTTP/1.1 200"

    assert was_cancelled.wait(60)
    eventually(lambda: [e for e in proxy.events() if e.request_id == f"leaves-{silent_before_head}"])
    event = next(e for e in proxy.events() if e.request_id == f"leaves-{silent_before_head}")
    assert (event.cut, event.status) == ("client", 499 if silent_before_head else 200)


@pytest.mark.parametrize(
    ("target", "start"),
    [("/v1/chat/completions", "data: "), ("/anthropic/v1/messages", "event: error\ndata: ")],
)
def test_a_stream_that_breaks_ends_with_the_dialects_error_event(
    proxy: Proxy, upstream: Upstream, target: str, start: str
) -> None:
    @upstream.on(target.removeprefix("/anthropic"))
    async def breaks(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(sse("one")[:-1])
        await wire.chunk(b"\n")
        wire.cut()

    with proxy.client() as client:
        response = client.post(target, json={"stream": True})

    *_, last = response.text.strip().split("\n\n")
    assert last.startswith(start)
    assert "upstream_cut" in last
    event = proxy.event_of(response)
    assert (event.cut, event.code, event.status) == ("upstream", "upstream_cut", 200)


def test_a_stream_that_breaks_in_the_middle_of_an_event_is_broken_off(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def breaks(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(sse("one") + b"data: half an eve")
        wire.cut()

    got = b""
    with proxy.client() as client, pytest.raises(httpx.RemoteProtocolError):
        with client.stream("POST", CHAT, json={"stream": True}, headers={"x-request-id": "half-an-event"}) as response:
            for chunk in response.iter_raw():
                got += chunk

    assert got == sse("one") + b"data: half an eve"
    eventually(lambda: [e for e in proxy.events() if e.request_id == "half-an-event" and e.cut == "upstream"])


@pytest.mark.parametrize("framing", [b"content-length: 1000000", b"transfer-encoding: chunked"])
def test_a_body_that_breaks_is_never_taken_for_whole(proxy: Proxy, upstream: Upstream, framing: bytes) -> None:
    @upstream.on("/v1/files/f/content")
    async def breaks(received: Received, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        await wire.send(b"5\r\nhello\r\n" if b"chunked" in framing else b"hello")
        await asyncio.sleep(0.1)  # the first piece shall be on its way before the cut
        wire.cut()

    with proxy.client() as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/v1/files/f/content", headers={"x-request-id": "breaks-unseen"})

    eventually(lambda: [e for e in proxy.events() if e.request_id == "breaks-unseen" and e.cut == "upstream"])


def test_a_stream_that_falls_silent_is_ended(own_proxy: Proxy, upstream: Upstream) -> None:
    own_proxy.apis["openai"] = {"timeouts": {"idle": "300ms"}}
    own_proxy.start()

    @upstream.on(CHAT)
    async def silent(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(sse("one"))
        await wire.gone()

    with own_proxy.client() as client:
        response = client.post(CHAT, json={"stream": True})

    assert "upstream_timeout" in response.text


def test_the_event_is_recorded_before_the_client_has_its_last_byte(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def short(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(sse("one", "[DONE]"))
        await wire.end()

    for _ in range(20):
        with proxy.client() as client:
            response = client.post(CHAT, json={"stream": True})
            recorded = {e.event_id for e in proxy.events()}

        assert response.headers["x-llm-proxy-event-id"] in recorded


def test_a_client_that_hangs_up_after_the_terminal_event_has_cut_nothing(proxy: Proxy, upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def lingers(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(sse('{"id": "c"}', "[DONE]"))
        await wire.gone()

    headers = {"x-request-id": "hangs-up-at-done"}
    with proxy.client() as client, client.stream("POST", CHAT, json={"stream": True}, headers=headers) as response:
        for chunk in response.iter_raw():
            if b"[DONE]" in chunk:
                break

    eventually(lambda: [e for e in proxy.events() if e.request_id == "hangs-up-at-done"])
    event = next(e for e in proxy.events() if e.request_id == "hangs-up-at-done")
    assert (event.cut, event.status) == ("", 200)


def test_a_slow_reader_slows_the_upstream_and_loses_nothing(proxy: Proxy, upstream: Upstream) -> None:
    piece, pieces, sent = b"x" * 65536, 600, []

    @upstream.on("/v1/files/f/content")
    async def large(received: Received, wire: Wire) -> None:
        await wire.start_chunked()
        for number in range(pieces):
            await wire.chunk(piece)
            sent.append(number)
        await wire.end()

    got = 0
    with proxy.client() as client, client.stream("GET", "/v1/files/f/content") as response:
        chunks = response.iter_raw(65536)
        got += len(next(chunks))
        stable_for(lambda: len(sent))
        assert len(sent) < pieces, "nobody reads, so the upstream must have been held"
        got += sum(len(c) for c in chunks)

    assert got == len(piece) * pieces


def stable_for(value: "object", *, s: float = 0.3) -> None:
    """Returns when a value has stopped changing."""
    import time
    from collections.abc import Callable
    from typing import cast

    read = cast("Callable[[], int]", value)
    last, since = read(), time.monotonic()
    while time.monotonic() - since < s:
        time.sleep(0.02)
        if read() != last:
            last, since = read(), time.monotonic()
