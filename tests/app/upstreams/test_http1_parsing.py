"""Our own client on bytes: any split gives the same answer, garbage gives a clean error, nothing is smuggled."""

import asyncio
import gc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamCut, UpstreamTimeout
from app.upstreams.http1_answer import Answer, ClosedUnanswered
from app.upstreams.http1_connection import Http1Connection
from app.upstreams.http1_upstream import _head
from app.upstreams.upstream import UpstreamRequest
from tests.app.upstreams.conftest import Dial
from tests.app.upstreams.test_upstream_conformance import OK, asked, get, post
from tests.support.raw_http import Peer, always, answering, raw_server
from tests.support.waiting import at_some_pace, until


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


Outcome = tuple[int, list[tuple[bytes, bytes]], bytes, str, bool]


def fed(pieces: list[bytes], method: str = "GET") -> Outcome:
    """What a connection makes of these reads and the end of the stream: status, headers, body, error, is reusable."""

    async def run() -> Outcome:
        transport, connection = _Transport(), Http1Connection()
        connection.connection_made(transport)
        connection.ask(method, b"")
        for piece in pieces:
            if not transport.is_aborted:
                connection.data_received(piece)
        is_reusable = connection.is_reusable
        connection.connection_lost(None)
        status, body, error = 0, b"", ""
        headers: list[tuple[bytes, bytes]] = []
        try:
            status, headers = await connection.head(1)
            while piece := await connection.read(1):
                body += piece
        except (UpstreamCut, ClosedUnanswered) as problem:
            error = type(problem).__name__
        return status, [] if error else headers, body, error, is_reusable

    return asyncio.run(run())


def split(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({n % (len(data) + 1) for n in at}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


VALID = [
    OK,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n3\r\nabc\r\n1f;e=1\r\n"
    + b"z" * 31
    + b"\r\n0\r\nt: v\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 500 Oh\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
]


@pytest.mark.parametrize("answer", VALID)
@given(at=st.lists(st.integers(0, 400), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_answer(answer: bytes, at: list[int]) -> None:
    assert fed(split(answer, at)) == fed([answer])
    assert fed([answer])[3] == ""


@given(answer=st.sampled_from(VALID), at=st.integers(0, 400), noise=st.binary(max_size=40), gone=st.integers(0, 40))
def test_garbage_anywhere_is_an_answer_or_a_clean_error(answer: bytes, at: int, noise: bytes, gone: int) -> None:
    cut = at % (len(answer) + 1)

    status, _, body, error, _ = fed([answer[:cut], noise, answer[cut + gone :]])

    assert error in ("", "UpstreamCut", "ClosedUnanswered")
    assert error or status >= 200
    assert len(body) <= len(answer) + len(noise)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_nothing_but_garbage_is_a_clean_error(pieces: list[bytes]) -> None:
    assert fed([b"\x16" + b"".join(pieces), *pieces])[3] == "UpstreamCut"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 2\r\ncontent-length: 2\r\n",
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n",
        b"content-length: +2\r\n",
        b"content-length: 2\r\nx: folded\r\n again\r\n",
        b"content-length : 2\r\n",
        b"content-length: 2\nx: y\r\n",
        b"content-length: 2\r\nx: a\rb\r\n",
        b"transfer-encoding: gzip\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ],
)
def test_a_head_that_two_readers_could_take_for_two_answers_is_refused(head: bytes) -> None:
    assert fed([b"HTTP/1.1 200 OK\r\n" + head + b"\r\nok"])[3] == "UpstreamCut"


@pytest.mark.parametrize("size", [b"zz", b"-1", b"", b"1 ", b"0x2", b"f" * 17])
def test_a_chunk_whose_size_is_none_is_refused(size: bytes) -> None:
    assert (
        fed([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + size + b"\r\nok\r\n0\r\n\r\n"])[3]
        == "UpstreamCut"
    )


def test_switching_protocols_which_nobody_asked_for_is_refused() -> None:
    assert fed([b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw"])[3] == "UpstreamCut"


def test_interim_answers_without_end_are_refused() -> None:
    assert fed([b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + OK])[3] == "UpstreamCut"


def test_a_head_beyond_the_bounds_is_refused() -> None:
    assert fed([b"HTTP/1.1 200 OK\r\n", *[b"x: " + b"y" * 1000 + b"\r\n"] * 100, b"\r\n"])[3] == "UpstreamCut"
    assert fed([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"content-length: 0\r\n\r\n"])[3] == "UpstreamCut"


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"rubbish", b"\r\n"])
def test_a_second_answer_to_one_request_is_never_the_next_ones(extra: bytes) -> None:
    status, _, body, error, is_reusable = fed([OK + extra])
    assert (status, body, error) == (200, b"ok", "")
    assert not is_reusable or extra == b"\r\n"  # an empty line before the next answer says nothing

    assert not fed([OK, extra])[4]


async def test_bytes_that_come_at_rest_end_the_connection(http1_at: Dial) -> None:
    async def speaks_unasked(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await peer.closed()

    async with raw_server(speaks_unasked) as server:
        upstream = http1_at(server.port)
        assert [await asked(upstream, get()) for _ in range(3)] == [(200, b"ok")] * 3

    assert server.connections == 3


@pytest.mark.parametrize("name", [b"x\r\ny", b"x\ny", b"x"])
@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb"])
def test_a_line_break_in_a_header_never_goes_out(name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        _head(UpstreamRequest(method="GET", target="/", headers=[(name, value)], body=None), "", "host")


async def test_a_post_on_a_connection_that_closed_at_rest_goes_out_on_a_new_one(http1_at: Dial) -> None:
    """The end lies in the socket's buffer before the request goes out, so nothing was sent into it."""
    async with raw_server(answering(OK)) as server:
        upstream = http1_at(server.port)
        assert await asked(upstream, post(b"1")) == (200, b"ok")
        await until(lambda: server.open == 0)
        assert await asked(upstream, post(b"2")) == (200, b"ok")

    assert [r.body for r in server.received] == [b"1", b"2"]


async def test_connections_at_rest_are_closed_when_their_time_is_over(http1_at: Dial) -> None:
    async with raw_server(always(OK)) as server:
        upstream = http1_at(server.port, keepalive_ms=60)
        await asyncio.gather(*(asked(upstream, get()) for _ in range(5)))
        await until(lambda: server.open == 0)
        assert server.connections == 5


async def test_without_keep_alive_each_call_has_a_connection_of_its_own(http1_at: Dial) -> None:
    async with raw_server(always(OK)) as server:
        upstream = http1_at(server.port, keepalive_ms=0)
        assert [await asked(upstream, get()) for _ in range(3)] == [(200, b"ok")] * 3
        await until(lambda: server.open == 0)

    assert server.connections == 3


async def test_a_short_patience_after_a_long_one_is_not_stretched(http1_at: Dial) -> None:
    async def falls_silent(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun")
        await peer.closed()

    async with raw_server(falls_silent) as server:
        upstream = http1_at(server.port, timeouts={"response_header_ms": 60_000, "idle_ms": 50})
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(asked(upstream, get()), 60)


async def test_pieces_that_come_in_time_may_take_longer_together(http1_at: Dial) -> None:
    async def dripping(slower: int) -> None:
        async def drips(peer: Peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
            for _ in range(10):
                await asyncio.sleep(0.05 * slower)
                await peer.send(b"x")

        async with raw_server(drips) as server:
            idle_ms = 300 * slower
            upstream = http1_at(server.port, timeouts={"response_header_ms": idle_ms, "idle_ms": idle_ms})
            assert await asked(upstream, get()) == (200, b"x" * 10)

    await at_some_pace(dripping)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_complete_answer_leaves_nothing_to_the_cycle_collector(method: str) -> None:
    def living() -> int:
        return sum(isinstance(thing, Answer) for thing in gc.get_objects())

    gc.collect()
    before = living()
    answer = Answer(method)
    answer.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + (b"" if method == "HEAD" else b"ok"))
    assert living() == before + 1

    del answer

    assert living() == before
