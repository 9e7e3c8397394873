"""The client's body in pieces, and the news of its leaving: who is told, when, and who no longer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.errors import BodyTooLarge, ClientGone, RequestTimeout
from app.patience import LEAST_BYTES, Patience
from app.request_body import RequestBody
from tests.support.waiting import until

PATIENT = Patience(3_600_000)
GONE = {"type": "http.disconnect"}


def piece(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


class Client:
    """Gives what is put into `says`, and nothing else."""

    def __init__(self, *says: dict[str, Any]) -> None:
        self.says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in says:
            self.says.put_nowait(message)
        self.listens = 0

    async def receive(self) -> dict[str, Any]:
        self.listens += 1
        try:
            return await self.says.get()
        finally:
            self.listens -= 1

    def body(self, length: int | None = None, *, max_bytes: int = 1000, patience: Patience = PATIENT) -> RequestBody:
        return RequestBody(self.receive, patience, length=length, max_bytes=max_bytes, keep_bytes=5)


async def attended(body: RequestBody, ready: asyncio.Event) -> None:
    body.attend()
    ready.set()
    try:
        await asyncio.Event().wait()
    finally:
        body.leave()


@pytest.mark.parametrize(("message", "why"), [(GONE, ClientGone), (piece(b"x" * 11), BodyTooLarge)])
async def test_who_attends_is_cancelled_when_the_client_leaves_or_sends_too_much(
    message: dict[str, Any], why: type[Exception]
) -> None:
    client, ready = Client(), asyncio.Event()
    body = client.body(max_bytes=10)
    attending = asyncio.create_task(attended(body, ready))
    await ready.wait()

    client.says.put_nowait(message)

    await until(attending.done)
    assert attending.cancelled()
    assert isinstance(body.ended_by, why)


async def test_an_error_of_the_server_in_front_ends_the_exchange_with_it() -> None:
    async def receive() -> dict[str, Any]:
        raise RuntimeError("no transport")

    body, ready = RequestBody(receive, PATIENT, length=None, max_bytes=9, keep_bytes=9), asyncio.Event()
    attending = asyncio.create_task(attended(body, ready))

    await until(attending.done)
    assert isinstance(body.ended_by, RuntimeError)


@pytest.mark.parametrize("message", [piece(b"x"), GONE, {"type": "other"}])
async def test_who_has_left_hears_nothing_more_also_when_a_cancellation_ends_in_a_message(
    message: dict[str, Any],
) -> None:
    """When it comes at that very moment."""

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return message
        raise AssertionError

    body = RequestBody(receive, PATIENT, length=None, max_bytes=9, keep_bytes=9)
    body.attend()
    await asyncio.sleep(0)

    body.leave()
    for _ in range(5):
        await asyncio.sleep(0)

    assert (body.ended_by, body.size) == (None, 0)


async def test_what_is_sent_in_pieces_is_read_in_pieces_and_its_beginning_is_kept() -> None:
    client = Client(piece(b"abc"), piece(b""), piece(b"def"), piece(b"", more=False))
    body = client.body()
    body.attend()

    assert [p async for p in body.stream()] == [b"abc", b"def"]
    assert (body.seen, body.size, body.is_seen_whole) == (b"abcde", 6, False)
    body.leave()


async def test_no_more_than_four_pieces_lie_here_while_nobody_takes_them() -> None:
    client = Client(*(piece(b"x") for _ in range(9)))
    body = client.body()
    body.attend()
    await until(lambda: body.size == 4)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (body.size, client.listens) == (4, 0)

    pieces: AsyncIterator[bytes] = body.stream()
    await anext(pieces)
    await anext(pieces)

    await until(lambda: body.size > 4)
    body.leave()


async def test_a_body_whose_length_is_known_is_whole_with_its_last_byte() -> None:
    """Granian tells the end in a message of its own: an answer would have to wait for it."""
    client = Client(piece(b"abc"))

    assert await client.body(3).read_all(10) == b"abc"


async def test_a_body_that_is_none_is_not_waited_for() -> None:
    client = Client()

    assert await client.body(0).read_all(10) == b""
    assert client.listens == 0


async def test_a_leaving_is_heard_behind_the_end_of_the_body() -> None:
    client = Client(piece(b"abc"), piece(b"", more=False))
    body, ready = client.body(3), asyncio.Event()
    assert await body.read_all(10) == b"abc"
    attending = asyncio.create_task(attended(body, ready))
    await ready.wait()

    client.says.put_nowait(GONE)

    await until(attending.done)
    assert isinstance(body.ended_by, ClientGone)
    assert body.seen == b"abc"


async def test_what_came_before_anybody_streamed_it_is_streamed_whole() -> None:
    """While a connection is dialled, a short body in chunks may have come to its end."""
    client = Client(piece(b"abcdef"), piece(b"ghi"), piece(b"", more=False))
    body = client.body()
    body.attend()
    await until(lambda: body.size == 9 and client.says.empty())
    for _ in range(5):
        await asyncio.sleep(0)

    assert b"".join([p async for p in body.stream()]) == b"abcdefghi"
    assert body.seen == b"abcde"
    body.leave()


async def test_what_was_read_whole_before_is_streamed_from_memory() -> None:
    client = Client(piece(b"abcdef"), piece(b"ghi", more=False))
    body = client.body()
    assert await body.read_all(100) == b"abcdefghi"
    body.attend()

    assert [p async for p in body.stream()] == [b"abcdefghi"]
    body.leave()


async def read_whole(body: RequestBody) -> bytes:
    return await body.read_all(10_000)


async def test_a_body_that_does_not_come_on_is_given_up_at_the_second_look() -> None:
    patience, client = Patience(1), Client(piece(b"a"))
    reading = asyncio.create_task(read_whole(client.body(9, patience=patience)))
    await until(lambda: client.listens == 1 and client.says.empty())

    patience.look()
    client.says.put_nowait(piece(b"b"))  # a byte is no progress
    await until(lambda: client.listens == 1 and client.says.empty())
    assert not reading.done()
    patience.look()

    with pytest.raises(RequestTimeout):
        await reading
    assert not patience._sizes


async def test_a_slow_body_that_comes_on_is_waited_for() -> None:
    patience, client = Patience(1), Client()
    body = client.body(3 * LEAST_BYTES, max_bytes=10_000, patience=patience)
    reading = asyncio.create_task(read_whole(body))
    for count in (1, 2, 3):
        patience.look()
        client.says.put_nowait(piece(b"x" * LEAST_BYTES))
        await until(lambda count=count: body.size == count * LEAST_BYTES)  # type: ignore[misc]

    assert len(await reading) == 3 * LEAST_BYTES
    assert not patience._sizes


async def test_what_nobody_reads_on_is_let_be_and_given_up_only_when_it_is_waited_for() -> None:
    patience, ready = Patience(1), asyncio.Event()
    client = Client(*(piece(b"x") for _ in range(4)))
    body = client.body(patience=patience)
    attending = asyncio.create_task(attended(body, ready))
    await until(lambda: body.size == 4)
    for _ in range(3):
        patience.look()
    assert body.ended_by is None

    pieces: AsyncIterator[bytes] = body.stream()
    await anext(pieces)
    await anext(pieces)  # now the next one is waited for
    patience.look()
    assert body.ended_by is None
    patience.look()

    await until(attending.done)
    assert isinstance(body.ended_by, RequestTimeout)


async def test_a_cancellation_at_the_moment_of_giving_up_is_a_cancellation() -> None:
    patience, client = Patience(1), Client()
    reading = asyncio.create_task(read_whole(client.body(9, patience=patience)))
    await until(lambda: client.listens == 1)
    patience.look()

    patience.look()
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
