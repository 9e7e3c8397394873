"""What every client behind `Upstream` does, on raw sockets: both clients run all of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

import pytest

from app.errors import Overloaded, UpstreamCut, UpstreamTimeout, UpstreamUnreachable
from app.upstreams.upstream import Headers, Upstream, UpstreamRequest, UpstreamResponse, UpstreamStats
from tests.app.upstreams.conftest import Dial
from tests.support.raw_http import Peer, always, answering, raw_server
from tests.support.waiting import at_some_pace, until

T = TypeVar("T")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def get(headers: Headers | None = None, method: str = "GET") -> UpstreamRequest:
    return UpstreamRequest(method=method, target="/v1/x?y=1", headers=headers or [], body=None)


def post(body: bytes | AsyncIterator[bytes], *headers: tuple[bytes, bytes]) -> UpstreamRequest:
    length = [(b"content-length", str(len(body)).encode())] if isinstance(body, bytes) else []
    return UpstreamRequest(method="POST", target="/v1/x", headers=[*length, *headers], body=body)


async def whole(response: UpstreamResponse) -> bytes:
    pieces = []
    try:
        while piece := await response.read():
            pieces.append(piece)
    finally:
        await response.close()
    return b"".join(pieces)


async def opened(upstream: Upstream) -> UpstreamResponse:
    return await upstream.open(get())


async def asked(upstream: Upstream, request: UpstreamRequest) -> tuple[int, bytes]:
    try:
        async with asyncio.TaskGroup() as group:
            response = await upstream.open(request, group)
            return response.status, await whole(response)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def test_a_request_goes_out_as_it_is_with_host_and_nothing_else(upstream_at: Dial) -> None:
    headers = [(b"x-a", b"1"), (b"x-b", b"caf\xe9"), (b"x-a", b"2"), (b"content-length", b"5")]
    async with raw_server(answering(OK)) as server:
        request = UpstreamRequest(method="POST", target="/v1/x%20y?z=%2F", headers=headers, body=b"hello")
        assert await asked(upstream_at(server.port), request) == (200, b"ok")

    (received,) = server.received
    assert (received.method, received.target, received.body) == ("POST", "/v1/x%20y?z=%2F", b"hello")
    sent = [(n.lower(), v) for n, v in received.headers]
    assert (b"host", f"127.0.0.1:{server.port}".encode()) in sent
    assert [(n, v) for n, v in sent if n not in (b"host", b"connection")] == headers


async def test_the_answers_headers_keep_order_repetition_and_bytes(upstream_at: Dial) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-B: caf\xe9\r\nx-a: 1\r\nX-B: 2\r\nEmpty:\r\ncontent-length: 0\r\n\r\n"
    async with raw_server(answering(head)) as server:
        response = await opened(upstream_at(server.port))
        await response.close()

    assert response.headers == [
        (b"x-b", b"caf\xe9"),
        (b"x-a", b"1"),
        (b"x-b", b"2"),
        (b"empty", b""),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_answers_without_a_body_end_at_their_head_and_keep_the_connection(
    upstream_at: Dial, method: str, status: int
) -> None:
    length = 7 if method == "HEAD" else 0
    head = f"HTTP/1.1 {status} X\r\n" + (f"content-length: {length}\r\n" if status == 200 else "") + "\r\n"
    async with raw_server(always(head.encode())) as server:
        upstream = upstream_at(server.port)
        for _ in range(3):
            assert await asked(upstream, get(method=method)) == (status, b"")

    assert server.connections == 1


async def test_interim_answers_are_read_over(upstream_at: Dial) -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with raw_server(always(hints + OK)) as server:
        upstream = upstream_at(server.port)
        answers = [await asked(upstream, get()) for _ in range(2)]

    assert (answers, server.connections) == ([(200, b"ok")] * 2, 1)


async def test_chunks_and_trailers_are_read_and_the_connection_stays_sound(upstream_at: Dial) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n"
        b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-t: late\r\n\r\n"
    )
    async with raw_server(always(answer)) as server:
        upstream = upstream_at(server.port)
        answers = [await asked(upstream, get()) for _ in range(3)]

    assert (answers, server.connections) == ([(200, b"abc0123456789")] * 3, 1)


async def test_a_body_without_a_length_ends_with_the_connection(upstream_at: Dial) -> None:
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")) as server:
        assert await asked(upstream_at(server.port), get()) == (200, b"until the end")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nonly",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nonly\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\nonly",
    ],
)
async def test_a_body_that_ends_too_soon_is_cut(upstream_at: Dial, answer: bytes) -> None:
    async with raw_server(answering(answer)) as server:
        response = await opened(upstream_at(server.port))
        assert await response.read() == b"only"
        with pytest.raises(UpstreamCut):
            await whole(response)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_cut(upstream_at: Dial, answer: bytes) -> None:
    async with raw_server(answering(answer)) as server:
        with pytest.raises(UpstreamCut):
            await asked(upstream_at(server.port), post(b"x"))


@pytest.mark.parametrize("closing", [b"connection: close\r\n", b""])
async def test_a_connection_is_used_again_unless_it_says_that_it_closes(upstream_at: Dial, closing: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + closing + b"content-length: 2\r\n\r\nok"
    async with raw_server(always(answer)) as server:
        upstream = upstream_at(server.port)
        for _ in range(4):
            assert await asked(upstream, post(b"{}")) == (200, b"ok")

    assert server.connections == (4 if closing else 1)


async def test_a_response_that_is_left_early_costs_its_connection(upstream_at: Dial) -> None:
    async with raw_server(always(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")) as server:
        upstream = upstream_at(server.port)
        for _ in range(3):
            response = await opened(upstream)
            assert await response.read() == b"begun"
            await response.close()
            await response.close()
        await until(lambda: server.open == 0)

    assert server.connections == 3


async def test_an_idempotent_call_survives_a_connection_that_closed_at_rest(upstream_at: Dial) -> None:
    async with raw_server(answering(OK)) as server:
        upstream = upstream_at(server.port)
        for _ in range(3):
            assert await asked(upstream, get()) == (200, b"ok")

    assert server.connections == 3


async def test_a_post_that_may_have_been_heard_is_not_sent_twice(upstream_at: Dial) -> None:
    async def deaf_to_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()

    async with raw_server(deaf_to_the_second) as server:
        upstream = upstream_at(server.port)
        assert await asked(upstream, post(b"1")) == (200, b"ok")
        with pytest.raises(UpstreamCut):
            await asked(upstream, post(b"2"))

    assert [r.body for r in server.received] == [b"1", b"2"]


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def test_a_body_in_pieces_goes_out_chunked(upstream_at: Dial) -> None:
    async with raw_server(answering(OK)) as server:
        assert await asked(upstream_at(server.port), post(pieces_of(b"one", b"", b"two" * 5000))) == (200, b"ok")

    assert server.received[0].body == b"one" + b"two" * 5000
    assert server.received[0].all("transfer-encoding") == [b"chunked"]


async def test_a_body_in_pieces_whose_length_is_told_is_not_chunked(upstream_at: Dial) -> None:
    async with raw_server(answering(OK)) as server:
        request = post(pieces_of(b"one", b"two"), (b"content-length", b"6"))
        assert await asked(upstream_at(server.port), request) == (200, b"ok")

    assert (server.received[0].body, server.received[0].all("transfer-encoding")) == (b"onetwo", [])


async def test_an_answer_before_the_body_is_through_is_heard(upstream_at: Dial) -> None:
    async def refuses(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await peer.closed()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)

    async with raw_server(refuses) as server:
        upstream = upstream_at(server.port)
        for _ in range(2):
            assert await asked(upstream, post(endless())) == (413, b"big")
        await until(lambda: server.open == 0)

    assert server.connections == 2


async def test_silence_before_the_head_times_out(upstream_at: Dial) -> None:
    async with raw_server(Peer.closed) as server:
        with pytest.raises(UpstreamTimeout):
            await asked(upstream_at(server.port, timeouts={"response_header_ms": 50}), get())
        await until(lambda: server.open == 0)


async def test_silence_within_the_body_times_out(upstream_at: Dial) -> None:
    async def falls_silent(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")
        await peer.closed()

    async with raw_server(falls_silent) as server:
        response = await opened(upstream_at(server.port, timeouts={"idle_ms": 50}))
        with pytest.raises(UpstreamTimeout):
            await whole(response)
        await until(lambda: server.open == 0)


async def test_a_long_upload_is_no_slow_answer(upstream_at: Dial) -> None:
    async def uploading(slower: int) -> None:
        async def slowly() -> AsyncIterator[bytes]:
            for _ in range(12):
                yield b"x"
                await asyncio.sleep(0.05 * slower)

        async with raw_server(answering(OK)) as server:
            upstream = upstream_at(server.port, timeouts={"response_header_ms": 300 * slower})
            assert await asked(upstream, post(slowly())) == (200, b"ok")

    await at_some_pace(uploading)


async def test_nobody_there_is_unreachable(upstream_at: Dial) -> None:
    async with raw_server(Peer.closed) as server:
        port = server.port
    with pytest.raises(UpstreamUnreachable):
        await asked(upstream_at(port), get())
    with pytest.raises(UpstreamUnreachable):
        await asked(upstream_at(url="http://no-such-host.invalid"), get())


async def test_who_finds_all_connections_busy_waits_for_a_turn(upstream_at: Dial) -> None:
    async with raw_server(always(OK)) as server:
        upstream = upstream_at(server.port, max_connections=2)
        held = [await opened(upstream) for _ in range(2)]
        waiting = [asyncio.create_task(asked(upstream, post(str(n).encode()))) for n in range(5)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in waiting)
        for response in held:
            await whole(response)
        answers = await asyncio.gather(*waiting)

    assert answers == [(200, b"ok")] * 5
    assert server.connections == 2
    assert sorted(r.body for r in server.received[2:]) == [b"0", b"1", b"2", b"3", b"4"]


async def test_it_tells_how_its_connections_stand(http1_at: Dial) -> None:
    async with raw_server(always(OK)) as server:
        upstream = http1_at(server.port, max_connections=2)
        held = [await opened(upstream) for _ in range(2)]
        waiting = asyncio.create_task(asked(upstream, get()))
        await until(lambda: upstream.stats() == UpstreamStats(busy=2, idle=0, waiting=1, dialled=2))
        for response in held:
            await whole(response)
        await waiting

    assert upstream.stats() == UpstreamStats(busy=0, idle=2, waiting=0, dialled=2)


async def test_who_waits_too_long_for_a_connection_is_told_to_come_back(
    upstream_at: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.upstreams.aiohttp_upstream._POOL_WAIT_S", 0.05)
    monkeypatch.setattr("app.upstreams.http1_pool._WAIT_S", 0.05)
    async with raw_server(always(OK)) as server:
        upstream = upstream_at(server.port, max_connections=1)
        held = await opened(upstream)
        with pytest.raises(Overloaded):
            await opened(upstream)
        await whole(held)
        assert await asked(upstream, get()) == (200, b"ok")


@pytest.mark.parametrize("moment", ["before the head", "within the body", "while waiting for a turn"])
async def test_a_call_that_is_cancelled_leaves_no_connection_and_no_seat_behind(upstream_at: Dial, moment: str) -> None:
    async def stalls(peer: Peer) -> None:
        while (await peer.request()).method != "GET":
            await peer.send(OK)
        if moment == "within the body":
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")
        await peer.closed()

    async with raw_server(stalls) as server:
        upstream = upstream_at(server.port, max_connections=1)
        calls = [asyncio.create_task(asked(upstream, get()))]
        await until(lambda: len(server.received) == 1)
        if moment == "while waiting for a turn":
            calls.append(asyncio.create_task(asked(upstream, get())))
            await asyncio.sleep(0.01)
        for call in reversed(calls):
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        await until(lambda: server.open == 0)
        assert await asked(upstream, post(b"still works")) == (200, b"ok")


async def test_a_reader_that_takes_nothing_holds_the_upstream_back(upstream_at: Dial) -> None:
    size, sent = 64 * 1024 * 1024, 0

    async def pours(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.send(b"x" * 65536)
            sent += 65536

    async with raw_server(pours) as server:
        response = await opened(upstream_at(server.port))
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size / 2
        assert len(await whole(response)) == size


async def test_an_ipv6_address_is_dialled_and_named_in_host(upstream_at: Dial) -> None:
    async with raw_server(answering(OK), host="::1") as server:
        assert await asked(upstream_at(url=f"http://[::1]:{server.port}/base"), get()) == (200, b"ok")

    assert server.received[0].all("host") == [f"[::1]:{server.port}".encode()]
    assert server.received[0].target == "/base/v1/x?y=1"


async def test_a_host_with_several_addresses_is_reached_where_one_answers(upstream_at: Dial) -> None:
    """`localhost` is ::1 and 127.0.0.1 on most machines; only the second listens."""
    async with raw_server(answering(OK)) as server:
        assert await asked(upstream_at(url=f"http://localhost:{server.port}"), get()) == (200, b"ok")
